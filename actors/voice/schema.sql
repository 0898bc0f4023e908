-- One voice session. What rules read and write as one is one JSON cell; what they look for has a column.
CREATE TABLE session (
  id               INTEGER PRIMARY KEY CHECK (id = 1),
  -- Who it is of, and what it was opened with: never changed.
  opened           TEXT NOT NULL,
  -- The sockets, the sequence, the clock of attached time.
  state            TEXT NOT NULL
);

-- Resume tokens, of which there are digests, by the epoch that they were given for; the ticket's is zero. Those from the
-- one on that the client is known to have open the session, older ones say that somebody else did.
CREATE TABLE tokens (
  digest           TEXT PRIMARY KEY CHECK (length(digest) = 64),
  epoch            INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE turns (
  n                INTEGER PRIMARY KEY,
  -- Its client's, or derived from a sequence number; null while it is still listened to.
  id               TEXT UNIQUE,
  state            TEXT NOT NULL CHECK (state IN
                     ('listening', 'committed', 'stt', 'thinking', 'speaking', 'done', 'interrupted', 'failed')),
  body             TEXT NOT NULL,
  CHECK (id IS NOT NULL OR state IN ('listening', 'failed'))
);
CREATE INDEX turns_under_way ON turns (n) WHERE state NOT IN ('done', 'interrupted', 'failed');

-- What was asked of providers: the row is there before the call is.
CREATE TABLE provider_calls (
  turn             INTEGER NOT NULL,
  stage            TEXT NOT NULL CHECK (stage IN ('stt', 'llm', 'tts')),
  attempt          INTEGER NOT NULL CHECK (attempt >= 1),
  -- Why there is a second: the actor was lost in mid-call (`crash`), or the provider's socket was (`broken`).
  cause            TEXT NOT NULL CHECK (cause IN ('first', 'crash', 'broken')),
  -- `cancelling` was told to end and did not say yet what it used.
  state            TEXT NOT NULL CHECK (state IN
                     ('running', 'cancelling', 'done', 'cancelled', 'failed', 'broken', 'lost')),
  units            TEXT NOT NULL DEFAULT '{}',
  begun_at_ms      INTEGER NOT NULL,
  deadline_ms      INTEGER NOT NULL,
  PRIMARY KEY (turn, stage, attempt),
  CHECK ((attempt = 1) = (cause = 'first'))
) WITHOUT ROWID;
CREATE UNIQUE INDEX one_call_runs ON provider_calls (turn, stage) WHERE state = 'running';
CREATE INDEX calls_under_way ON provider_calls (deadline_ms) WHERE state IN ('running', 'cancelling');
CREATE UNIQUE INDEX one_call_counts ON provider_calls (turn, stage) WHERE state = 'done';

-- Sentences of an answer, as they were handed to speech.
CREATE TABLE parts (
  turn             INTEGER NOT NULL,
  part             INTEGER NOT NULL,
  text             TEXT NOT NULL,
  -- Sound that was taken of it, and that this attempt has brought: what it repeats is skipped.
  bytes            INTEGER NOT NULL DEFAULT 0,
  seen_bytes       INTEGER NOT NULL DEFAULT 0,
  spoken           INTEGER NOT NULL DEFAULT 0 CHECK (spoken IN (0, 1)),
  PRIMARY KEY (turn, part)
) WITHOUT ROWID;

-- Upward sound that was not understood yet, in base64; without a turn, what was heard before speech began.
CREATE TABLE up (
  seq              INTEGER PRIMARY KEY,
  turn             INTEGER,
  sound            TEXT NOT NULL
);

-- The ring: downward frames that were not acknowledged. Sound in base64, or an event.
CREATE TABLE down (
  seq              INTEGER PRIMARY KEY,
  turn             INTEGER,
  samples          INTEGER NOT NULL DEFAULT 0,
  media_offset     INTEGER NOT NULL DEFAULT 0,
  flags            INTEGER NOT NULL DEFAULT 0,
  sound            TEXT,
  event            TEXT,
  CHECK ((sound IS NULL) <> (event IS NULL))
);

-- Holds at the tenant's actor, of a turn or of attached time, and what is to be asked of it: `asked` to make one,
-- `settling` to end it. Asked again until it answers; the name of the hold makes that harmless.
CREATE TABLE holds (
  n                INTEGER PRIMARY KEY,
  hold             TEXT NOT NULL UNIQUE,
  turn             INTEGER UNIQUE,
  -- Attached time that it pays for, as counted since the session began.
  from_ms          INTEGER NOT NULL DEFAULT 0,
  to_ms            INTEGER NOT NULL DEFAULT 0,
  -- Where that time ended, once it has.
  ended_ms         INTEGER CHECK (ended_ms BETWEEN from_ms AND to_ms),
  state            TEXT NOT NULL CHECK (state IN ('asked', 'granted', 'refused', 'settling', 'settled')),
  need             TEXT NOT NULL,
  amount_micro     INTEGER NOT NULL CHECK (amount_micro >= 0),
  charge_micro     INTEGER NOT NULL DEFAULT 0 CHECK (charge_micro BETWEEN 0 AND amount_micro),
  -- JSON: what the charge is for.
  used             TEXT NOT NULL DEFAULT '{}',
  tries            INTEGER NOT NULL DEFAULT 0,
  -- When it has to be looked at again, whatever happens until then.
  again_at_ms      INTEGER
);
CREATE INDEX holds_to_look_at ON holds (again_at_ms) WHERE again_at_ms IS NOT NULL;
CREATE INDEX holds_of_time ON holds (to_ms) WHERE turn IS NULL AND ended_ms IS NULL;
CREATE INDEX holds_granted ON holds (turn) WHERE state = 'granted';
