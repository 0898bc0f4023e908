-- One row: whose actor this is, which schema it has, and why it changes nothing when it is quarantined.
CREATE TABLE actor (
  id               INTEGER PRIMARY KEY CHECK (id = 1),
  schema_version   INTEGER NOT NULL,
  tenant           TEXT NOT NULL,
  opened_at_ms     INTEGER NOT NULL,
  quarantine       TEXT
);
-- Keys that clients gave to requests. `hold` is set while the first request is under way, `reply` when it is done.
CREATE TABLE idempotency (
  key              TEXT PRIMARY KEY,
  body_hash        TEXT NOT NULL,
  hold             TEXT,
  reply            TEXT,
  expires_at_ms    INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX idempotency_expiry ON idempotency (expires_at_ms);
-- How many rows `idempotency` has, kept by the triggers, so that the limit costs no count of them.
CREATE TABLE idempotency_count (
  id               INTEGER PRIMARY KEY CHECK (id = 1),
  keys_taken       INTEGER NOT NULL CHECK (keys_taken >= 0)
);
INSERT INTO idempotency_count VALUES (1, 0);
CREATE TRIGGER idempotency_added AFTER INSERT ON idempotency
  BEGIN UPDATE idempotency_count SET keys_taken = keys_taken + 1; END;
CREATE TRIGGER idempotency_removed AFTER DELETE ON idempotency
  BEGIN UPDATE idempotency_count SET keys_taken = keys_taken - 1; END;
