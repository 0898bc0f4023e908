-- Who this actor is, which schema it has, why it changes nothing when it is quarantined, and how many rows
-- `idempotency` has: kept by the triggers, so that the limit costs no count of them.
CREATE TABLE actor (
  id               INTEGER PRIMARY KEY CHECK (id = 1),
  schema_version   INTEGER NOT NULL,
  tenant           TEXT NOT NULL,
  opened_at_ms     INTEGER NOT NULL,
  quarantine       TEXT,
  keys_taken       INTEGER NOT NULL CHECK (keys_taken >= 0)
);
-- What an operator set for this tenant, and what its budgets and caps have counted: JSON objects.
CREATE TABLE limits (
  id               INTEGER PRIMARY KEY CHECK (id = 1),
  settings         TEXT NOT NULL,
  counters         TEXT NOT NULL
);
-- Keys that clients gave to requests. `hold` is set while the first request is under way, `reply` when it is done.
CREATE TABLE idempotency (
  key              TEXT PRIMARY KEY,
  body_hash        TEXT NOT NULL,
  hold             TEXT,
  reply            TEXT,
  -- How long the key is remembered after its request is done.
  ttl_ms           INTEGER NOT NULL,
  expires_at_ms    INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX idempotency_expiry ON idempotency (expires_at_ms);
CREATE TRIGGER idempotency_added AFTER INSERT ON idempotency
  BEGIN UPDATE actor SET keys_taken = keys_taken + 1; END;
CREATE TRIGGER idempotency_removed AFTER DELETE ON idempotency
  BEGIN UPDATE actor SET keys_taken = keys_taken - 1; END;
