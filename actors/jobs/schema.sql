-- Jobs of a tenant. Made when its first job comes: most tenants never have one.
CREATE TABLE jobs (
  -- The order in which they were made.
  seq              INTEGER PRIMARY KEY,
  id               TEXT NOT NULL UNIQUE,
  type             TEXT NOT NULL,
  state            TEXT NOT NULL CHECK (state = 'delayed' OR state = 'queued' OR state = 'nudged' OR state = 'leased'
    OR state = 'taken' OR state = 'succeeded' OR state = 'failed' OR state = 'cancelled'),
  -- 0 to 9; 9 goes first.
  priority         INTEGER NOT NULL,
  -- When the alarm is to look at it: its time, its next message, the end of its lease, when it is forgotten.
  due_at_ms        INTEGER,
  -- Which lease this is, counted over all attempts. Whoever has an older one is late.
  epoch            INTEGER NOT NULL,
  -- Who has the lease.
  worker           TEXT,
  -- When the job ends, whatever it is at; its hold ends then too.
  expires_at_ms    INTEGER NOT NULL,
  -- Two open jobs with the same one are one.
  dedupe           TEXT,
  created_at_ms    INTEGER NOT NULL,
  updated_at_ms    INTEGER NOT NULL,
  -- What it was made with, and what became of it so far: JSON objects.
  terms            TEXT NOT NULL,
  life             TEXT NOT NULL,
  CHECK ((state = 'leased') = (worker IS NOT NULL)),
  CHECK ((state = 'queued' OR state = 'taken') = (due_at_ms IS NULL))
);
CREATE INDEX jobs_due ON jobs (due_at_ms) WHERE due_at_ms IS NOT NULL;
CREATE INDEX jobs_ready ON jobs (type, priority DESC, seq) WHERE state = 'queued';
CREATE INDEX jobs_active ON jobs (type) WHERE state = 'nudged' OR state = 'leased';
CREATE UNIQUE INDEX jobs_dedupe ON jobs (dedupe) WHERE dedupe IS NOT NULL;
-- What is large: apart, so that a lease or a heartbeat does not write it again.
CREATE TABLE job_bodies (
  seq              INTEGER PRIMARY KEY,
  params           TEXT,
  -- What an attempt got done so far, for the next one to go on with.
  checkpoint       TEXT,
  result           TEXT
);
-- What clients are told, in its order; the last some thousand are kept.
CREATE TABLE job_events (
  seq              INTEGER PRIMARY KEY,
  at_ms            INTEGER NOT NULL,
  body             TEXT NOT NULL,
  -- The last entry or usage event and the last notice that were written before: its place in the live events.
  after_seq        INTEGER,
  after_notice     INTEGER
);
-- Jobs that are made again and again. When, the platform works out: here is the next time only.
CREATE TABLE job_schedules (
  id               TEXT PRIMARY KEY,
  -- When the alarm is to look at it: the next run, or when it is asked for again; null while it is paused.
  due_at_ms        INTEGER,
  -- What is made and when: a JSON object.
  body             TEXT NOT NULL
) WITHOUT ROWID;
