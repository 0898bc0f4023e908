-- Tickets that open one socket each. Of a ticket's secret there is a digest, and nothing else; who redeems one deletes
-- its row, so there are never more than are outstanding.
CREATE TABLE tickets (
  digest           TEXT PRIMARY KEY CHECK (length(digest) = 64),
  -- What it opens: the JSON of a purpose.
  purpose          TEXT NOT NULL,
  -- The page it was given to; null when no page asked.
  origin           TEXT,
  -- The API key that asked for it, and when the credential ends that did: the socket ends with it.
  api_key          TEXT,
  credential_ends_at_ms  INTEGER,
  expires_at_ms    INTEGER NOT NULL
) WITHOUT ROWID;
