-- What was counted of one address: a meter of `rate` for each thing, as JSON. A row that has been quiet for its window
-- says nothing any more.
CREATE TABLE IF NOT EXISTS meters (
  what             TEXT PRIMARY KEY,
  meter            TEXT NOT NULL,
  quiet_at_ms      INTEGER NOT NULL
) WITHOUT ROWID;
