-- Voice sessions of one tenant: which there are, and which of them still may be open. What happens in one, its own actor
-- knows.
CREATE TABLE voice_sessions (
  n                INTEGER PRIMARY KEY AUTOINCREMENT,
  session          TEXT NOT NULL UNIQUE,
  -- The API key that opened it.
  api_key          TEXT,
  opened_at_ms     INTEGER NOT NULL,
  -- When it is over at the latest, should nobody say so.
  ends_by_ms       INTEGER NOT NULL,
  ended_at_ms      INTEGER
);
CREATE INDEX voice_sessions_open ON voice_sessions (ends_by_ms) WHERE ended_at_ms IS NULL;

-- How the tenant wants to be spoken to: the JSON of an object.
CREATE TABLE voice_prefs (
  id               INTEGER PRIMARY KEY CHECK (id = 1),
  prefs            TEXT NOT NULL
);
