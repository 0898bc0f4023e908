-- One experiment: which arm answers whom, and how well each did. Sums beside the arms, so that no report scans.
CREATE TABLE experiment (
  id               INTEGER PRIMARY KEY CHECK (id = 1),
  skill            TEXT NOT NULL,
  state            TEXT NOT NULL CHECK (state IN ('running', 'paused', 'pinned', 'promoted', 'withdrawn')),
  -- The arm that everybody gets.
  arm              TEXT,
  control          TEXT NOT NULL,
  sticky_ms        INTEGER NOT NULL CHECK (sticky_ms >= 0),
  -- What the draws of units that keep their arms begin with; nobody outside knows it.
  salt             TEXT NOT NULL,
  -- Counts the experiments of this skill. What was begun in an earlier one does not count in this.
  round            INTEGER NOT NULL,
  began_at_ms      INTEGER NOT NULL,
  updated_at_ms    INTEGER NOT NULL,
  CHECK ((state IN ('pinned', 'promoted')) = (arm IS NOT NULL))
);

-- `requested` and what begins with it are answers whose arm the client chose: they say nothing of what chance would
-- have brought, and are no part of the odds.
CREATE TABLE arms (
  name                TEXT PRIMARY KEY,
  position            INTEGER NOT NULL,
  -- What it is, as JSON: a name means one thing for as long as the experiment lasts.
  terms               TEXT NOT NULL,
  -- Whether it is still given to anybody.
  live                INTEGER NOT NULL CHECK (live IN (0, 1)),
  answers             INTEGER NOT NULL DEFAULT 0,
  cost_micro          INTEGER NOT NULL DEFAULT 0 CHECK (cost_micro >= 0),
  latency_ms          INTEGER NOT NULL DEFAULT 0 CHECK (latency_ms >= 0),
  outcomes            INTEGER NOT NULL DEFAULT 0,
  score_ppm           INTEGER NOT NULL DEFAULT 0 CHECK (score_ppm BETWEEN 0 AND outcomes * 1000000),
  requested           INTEGER NOT NULL DEFAULT 0,
  requested_outcomes  INTEGER NOT NULL DEFAULT 0 CHECK (requested_outcomes <= requested),
  requested_score_ppm INTEGER NOT NULL DEFAULT 0 CHECK (requested_score_ppm BETWEEN 0 AND requested_outcomes * 1000000),
  CHECK (outcomes + requested <= answers)
) WITHOUT ROWID;

-- Who keeps which arm, and until when. Of a unit there is a digest.
CREATE TABLE units (
  seq              INTEGER PRIMARY KEY,
  unit             TEXT NOT NULL UNIQUE,
  arm              TEXT NOT NULL,
  until_ms         INTEGER NOT NULL
);

-- Answers that can still be scored, each once. Of a tenant there is a digest.
CREATE TABLE requests (
  seq              INTEGER PRIMARY KEY,
  request_id       TEXT NOT NULL UNIQUE,
  tenant           TEXT NOT NULL,
  arm              TEXT NOT NULL,
  requested        INTEGER NOT NULL CHECK (requested IN (0, 1)),
  at_ms            INTEGER NOT NULL,
  score_ppm        INTEGER CHECK (score_ppm BETWEEN 0 AND 1000000),
  scored_at_ms     INTEGER
);

-- What operators did. Nothing in it is ever changed.
CREATE TABLE transitions (
  seq              INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms            INTEGER NOT NULL,
  kind             TEXT NOT NULL,
  arm              TEXT,
  reason           TEXT,
  operator         TEXT NOT NULL,
  -- JSON: what was defined, and how the experiment before it ended.
  detail           TEXT
);
CREATE TRIGGER transitions_are_kept BEFORE UPDATE ON transitions
BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: what was done is not changed'); END;
