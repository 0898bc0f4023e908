-- Checks of words are spelled with OR: for a list after IN, of more than two, SQLite builds a table of it for each row.
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
  -- Live grants, a JSON array in the order they are spent: what is left of each, and what is held of it.
  grants           TEXT NOT NULL,
  -- Hash of the last entry.
  head             TEXT NOT NULL,
  CHECK (available_micro + held_micro = granted_micro - settled_micro)
);
-- The ledger: every change of what the tenant owns, as postings to four books that sum to zero. A hold moves
-- credit between available and held within what is owned, and is no entry.
CREATE TABLE entries (
  seq              INTEGER PRIMARY KEY,
  at_ms            INTEGER NOT NULL,
  kind             TEXT NOT NULL CHECK
    (kind = 'charge' OR kind = 'grant' OR kind = 'set' OR kind = 'delta' OR kind = 'expire'),
  owned_micro      INTEGER NOT NULL,
  issued_micro     INTEGER NOT NULL,
  charged_micro    INTEGER NOT NULL,
  expired_micro    INTEGER NOT NULL,
  -- Balance after the entry.
  available_micro  INTEGER NOT NULL CHECK (available_micro >= 0),
  held_micro       INTEGER NOT NULL CHECK (held_micro >= 0),
  shortfall_micro  INTEGER NOT NULL DEFAULT 0,
  operation        TEXT NOT NULL,
  reason           TEXT,
  reference        TEXT,
  -- Which grants were filled or drawn: a JSON array of [grant, micro].
  grants           TEXT NOT NULL,
  -- Terms of the grant that a grant's entry makes.
  terms            TEXT,
  hash             TEXT NOT NULL,
  CHECK (owned_micro + issued_micro + charged_micro + expired_micro = 0)
);
-- Ended holds stay for a while, so that a repeated settle finds what the first one did, and longer when they
-- expired, so that somebody can look.
CREATE TABLE holds (
  id               TEXT PRIMARY KEY,
  state            TEXT NOT NULL CHECK
    (state = 'open' OR state = 'settled' OR state = 'released' OR state = 'expired'),
  -- All that was set aside, all that was charged of the hold and beside it, and what could not be.
  amount_micro     INTEGER NOT NULL CHECK (amount_micro >= 0),
  charged_micro    INTEGER NOT NULL DEFAULT 0 CHECK (charged_micro >= 0),
  shortfall_micro  INTEGER NOT NULL DEFAULT 0 CHECK (shortfall_micro >= 0),
  -- What is still set aside, by grant: a JSON array of [grant, micro].
  parts            TEXT NOT NULL,
  -- Who owns it and what it was admitted as: a JSON object.
  owner            TEXT NOT NULL,
  -- The key that counts it among its requests in flight: none does a job's.
  api_key          TEXT,
  -- The latest usage that a partial settle reported: a JSON object.
  usage            TEXT,
  created_at_ms    INTEGER NOT NULL,
  deadline_ms      INTEGER NOT NULL,
  ended_at_ms      INTEGER,
  forget_at_ms     INTEGER
) WITHOUT ROWID;
CREATE INDEX holds_open ON holds (deadline_ms) WHERE state = 'open';
CREATE INDEX holds_ended ON holds (forget_at_ms) WHERE state <> 'open';
-- The key is the order of the feed, so the feed needs no index.
CREATE TABLE usage_events (
  created_at_ms    INTEGER NOT NULL,
  seq              INTEGER NOT NULL,
  id               TEXT NOT NULL,
  route            TEXT,
  tokens_in        INTEGER,
  tokens_out       INTEGER,
  cost_micro       INTEGER,
  -- The model whose price was charged, and the API key that asked.
  model            TEXT,
  api_key          TEXT,
  -- A client reported it: nothing was charged.
  by_client        INTEGER NOT NULL,
  meta             TEXT,
  PRIMARY KEY (created_at_ms, seq)
) WITHOUT ROWID;
-- What clients report has the time that they say, so live events find it by its number. Charges never write here.
CREATE INDEX usage_by_client ON usage_events (seq) WHERE by_client = 1;
-- Ids that clients gave to events of theirs. Our own events have the id of their hold, which is unique already; what
-- came after a hold that was charged in part had expired has that id with `-late`.
CREATE TABLE usage_client_ids (
  id               TEXT PRIMARY KEY,
  created_at_ms    INTEGER NOT NULL,
  seq              INTEGER NOT NULL
) WITHOUT ROWID;
