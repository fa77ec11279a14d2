CREATE TABLE schema_version (
  version INTEGER NOT NULL,
  oldest_compatible INTEGER NOT NULL
);
INSERT INTO schema_version VALUES (1, 1);

CREATE TABLE counters (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counters VALUES ('sequence', 0);

CREATE TABLE runs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  uid TEXT NOT NULL UNIQUE,
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  phase TEXT NOT NULL,
  created_at REAL NOT NULL,
  started_at REAL,
  finished_at REAL,
  labels BLOB NOT NULL,
  message TEXT NOT NULL,
  progress TEXT NOT NULL,
  version INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  events INTEGER NOT NULL
);
CREATE INDEX runs_by_name ON runs (namespace, name);
CREATE UNIQUE INDEX runs_live_name ON runs (namespace, name) WHERE finished_at IS NULL;

CREATE TABLE headers (
  run INTEGER PRIMARY KEY,
  body BLOB NOT NULL
);

CREATE TABLE nodes (
  run INTEGER NOT NULL,
  id TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (run, id)
) WITHOUT ROWID;

CREATE TABLE effects (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  run INTEGER NOT NULL,
  key TEXT NOT NULL,
  body BLOB NOT NULL,
  UNIQUE (run, key)
);

CREATE TABLE events (
  run INTEGER NOT NULL,
  number INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (run, number)
) WITHOUT ROWID;

CREATE TABLE documents (
  kind TEXT NOT NULL,
  key TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (kind, key)
) WITHOUT ROWID;
