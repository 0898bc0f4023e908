-- What is sold, and for how much: every version there ever was. Nothing here is changed once it is written, but for
-- what says which version is the current one.
CREATE TABLE catalog (
  id               INTEGER PRIMARY KEY CHECK (id = 1),
  -- Goes up with every change, so that who has a copy can ask whether there is a newer one.
  revision         INTEGER NOT NULL CHECK (revision >= 0)
);
INSERT INTO catalog VALUES (1, 0);
CREATE TABLE prices (
  version          INTEGER PRIMARY KEY CHECK (version >= 1),
  at_ms            INTEGER NOT NULL,
  -- Which of the operator's keys, and why.
  changed_by       TEXT NOT NULL,
  reason           TEXT NOT NULL,
  -- The whole table: a JSON object.
  prices           TEXT NOT NULL
);
-- Tables that a deployment's configuration had, by their digests: version 0, as long as no other is there.
CREATE TABLE configured_prices (
  digest           TEXT PRIMARY KEY,
  first_seen_at_ms INTEGER NOT NULL,
  prices           TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE skill_versions (
  name             TEXT NOT NULL,
  version          INTEGER NOT NULL CHECK (version >= 1),
  at_ms            INTEGER NOT NULL,
  changed_by       TEXT NOT NULL,
  reason           TEXT NOT NULL,
  -- A JSON object; null where this version says that the skill is gone.
  terms            TEXT,
  PRIMARY KEY (name, version)
) WITHOUT ROWID;
-- The current version of each name.
CREATE TABLE skills (
  name             TEXT PRIMARY KEY,
  version          INTEGER NOT NULL
) WITHOUT ROWID;
