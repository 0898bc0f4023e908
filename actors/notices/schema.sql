-- What the owner of a tenant is told: events, and the log of their delivery to the tenant's webhook.
CREATE TABLE notices (
  -- Never given twice, also after all were forgotten: a delivery's id is made of it, and receivers tell by that id.
  seq              INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms            INTEGER NOT NULL,
  kind             TEXT NOT NULL,
  body             TEXT NOT NULL,
  state            TEXT NOT NULL CHECK
    (state = 'recorded' OR state = 'pending' OR state = 'delivered' OR state = 'failed'),
  attempts         INTEGER NOT NULL DEFAULT 0,
  -- When the next attempt is due; set while pending.
  next_at_ms       INTEGER,
  delivered_at_ms  INTEGER,
  last_outcome     TEXT,
  -- Each attempt that was reported: [{"attempt":1,"at_ms":…,"outcome":"503"},…], fifteen at most. One that is missing
  -- in between was made, and nothing was heard of it.
  attempt_log      TEXT NOT NULL DEFAULT '[]',
  -- The last entry or usage event that was written before: its place in the live events.
  after_seq        INTEGER
);
CREATE INDEX notices_pending ON notices (next_at_ms) WHERE state = 'pending';
