-- The account: one row. Its checks are the invariants that cost nothing to keep.
CREATE TABLE account (
  id               INTEGER PRIMARY KEY CHECK (id = 1),
  available_micro  INTEGER NOT NULL CHECK (available_micro >= 0),
  held_micro       INTEGER NOT NULL CHECK (held_micro >= 0),
  granted_micro    INTEGER NOT NULL,
  settled_micro    INTEGER NOT NULL CHECK (settled_micro >= 0),
  holds_open       INTEGER NOT NULL CHECK (holds_open >= 0),
  next_seq         INTEGER NOT NULL,
  updated_at_ms    INTEGER NOT NULL,
  CHECK (available_micro + held_micro = granted_micro - settled_micro)
);
-- Every change of what the tenant owns. A hold moves credit between available and held and is no entry.
CREATE TABLE entries (
  seq              INTEGER PRIMARY KEY,
  at_ms            INTEGER NOT NULL,
  kind             TEXT NOT NULL CHECK (kind IN ('grant', 'set', 'delta', 'charge')),
  amount_micro     INTEGER NOT NULL,
  available_micro  INTEGER NOT NULL,
  held_micro       INTEGER NOT NULL,
  shortfall_micro  INTEGER NOT NULL DEFAULT 0,
  operation        TEXT NOT NULL,
  reason           TEXT
);
-- Ended holds stay for a while, so that a repeated settle finds what the first one did.
CREATE TABLE holds (
  id               TEXT PRIMARY KEY,
  state            TEXT NOT NULL CHECK (state IN ('open', 'settled', 'released', 'expired')),
  amount_micro     INTEGER NOT NULL CHECK (amount_micro >= 0),
  route            TEXT NOT NULL,
  created_at_ms    INTEGER NOT NULL,
  deadline_ms      INTEGER NOT NULL,
  ended_at_ms      INTEGER,
  charged_micro    INTEGER,
  shortfall_micro  INTEGER
) WITHOUT ROWID;
CREATE INDEX holds_open ON holds (deadline_ms) WHERE state = 'open';
CREATE INDEX holds_ended ON holds (ended_at_ms) WHERE state <> 'open';
-- The key is the order of the feed, so the feed needs no index.
CREATE TABLE usage_events (
  created_at_ms    INTEGER NOT NULL,
  seq              INTEGER NOT NULL,
  id               TEXT NOT NULL,
  route            TEXT,
  tokens_in        INTEGER,
  tokens_out       INTEGER,
  cost_micro       INTEGER,
  meta             TEXT,
  PRIMARY KEY (created_at_ms, seq)
) WITHOUT ROWID;
-- Ids that clients gave to events of theirs; our own events have the id of their hold, which is unique already.
CREATE TABLE usage_client_ids (
  id               TEXT PRIMARY KEY,
  created_at_ms    INTEGER NOT NULL,
  seq              INTEGER NOT NULL
) WITHOUT ROWID;
