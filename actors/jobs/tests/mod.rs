//! Jobs on the SQL that ships.
