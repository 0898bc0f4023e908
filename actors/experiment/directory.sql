-- The skills that have an experiment. What it is, its own actor knows.
CREATE TABLE known (
  skill            TEXT PRIMARY KEY,
  added_at_ms      INTEGER NOT NULL
) WITHOUT ROWID;

-- Counts the changes of the list: who hears of two states of it knows which is the newer one.
CREATE TABLE versions (
  id               INTEGER PRIMARY KEY CHECK (id = 1),
  version          INTEGER NOT NULL
);
INSERT INTO versions VALUES (1, 0);
