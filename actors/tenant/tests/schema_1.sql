CREATE TABLE actor (
  id               INTEGER PRIMARY KEY CHECK (id = 1),
  schema_version   INTEGER NOT NULL,
  tenant           TEXT NOT NULL,
  opened_at_ms     INTEGER NOT NULL,
  quarantine       TEXT
);
CREATE TABLE idempotency (
  key              TEXT PRIMARY KEY,
  body_hash        TEXT NOT NULL,
  hold             TEXT,
  reply            TEXT,
  expires_at_ms    INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX idempotency_expiry ON idempotency (expires_at_ms);
CREATE TABLE idempotency_count (
  id               INTEGER PRIMARY KEY CHECK (id = 1),
  keys_taken       INTEGER NOT NULL CHECK (keys_taken >= 0)
);
INSERT INTO idempotency_count VALUES (1, 0);
CREATE TRIGGER idempotency_added AFTER INSERT ON idempotency
  BEGIN UPDATE idempotency_count SET keys_taken = keys_taken + 1; END;
CREATE TRIGGER idempotency_removed AFTER DELETE ON idempotency
  BEGIN UPDATE idempotency_count SET keys_taken = keys_taken - 1; END;
CREATE TABLE rate_windows (
  policy     TEXT PRIMARY KEY,
  clock_ms   INTEGER NOT NULL,
  buckets    TEXT NOT NULL
) WITHOUT ROWID;
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
CREATE TABLE usage_client_ids (
  id               TEXT PRIMARY KEY,
  created_at_ms    INTEGER NOT NULL,
  seq              INTEGER NOT NULL
) WITHOUT ROWID;
