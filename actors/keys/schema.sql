-- Keys that let a program call in this tenant's name. Of a key's secret there is a digest, and nothing else.
CREATE TABLE api_keys (
  id               TEXT PRIMARY KEY,
  digest           TEXT NOT NULL UNIQUE,
  name             TEXT NOT NULL,
  created_at_ms    INTEGER NOT NULL,
  expires_at_ms    INTEGER,
  revoked_at_ms    INTEGER,
  -- Noted once a minute at most.
  last_used_ms     INTEGER
) WITHOUT ROWID;
