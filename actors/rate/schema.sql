-- One row a budget. `buckets` is a JSON array of [second, admitted], oldest first, at most 62 of them.
CREATE TABLE rate_windows (
  policy     TEXT PRIMARY KEY,
  clock_ms   INTEGER NOT NULL,
  buckets    TEXT NOT NULL
) WITHOUT ROWID;
