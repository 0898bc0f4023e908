-- The skills that have an experiment. What it is, its own actor knows.
CREATE TABLE known (
  skill            TEXT PRIMARY KEY,
  added_at_ms      INTEGER NOT NULL
) WITHOUT ROWID;
