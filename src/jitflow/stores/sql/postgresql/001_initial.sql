CREATE TABLE schema_version (
  version INTEGER NOT NULL,
  oldest_compatible INTEGER NOT NULL
);
INSERT INTO schema_version VALUES (1, 1);

CREATE TABLE counters (
  name TEXT PRIMARY KEY,
  value BIGINT NOT NULL
);
INSERT INTO counters VALUES ('sequence', 0);

-- The server to which the state belongs. `batch` is the number of its last transaction: after a lost connection it tells
-- whether that one was committed.
CREATE TABLE holder (
  owner TEXT NOT NULL,
  process TEXT NOT NULL,
  batch BIGINT NOT NULL,
  renewed_at TIMESTAMPTZ NOT NULL
);
INSERT INTO holder VALUES ('', '', 0, now());

CREATE TABLE runs (
  id BIGINT PRIMARY KEY,
  uid TEXT COLLATE "C" NOT NULL UNIQUE,
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  phase TEXT NOT NULL,
  created_at DOUBLE PRECISION NOT NULL,
  started_at DOUBLE PRECISION,
  finished_at DOUBLE PRECISION,
  labels BYTEA NOT NULL,
  message TEXT NOT NULL,
  progress TEXT NOT NULL,
  live BOOLEAN NOT NULL,
  archived BOOLEAN NOT NULL,
  version BIGINT NOT NULL,
  sequence BIGINT NOT NULL,
  events BIGINT NOT NULL
);
CREATE INDEX runs_by_name ON runs (namespace, name);
CREATE UNIQUE INDEX runs_live_name ON runs (namespace, name) WHERE finished_at IS NULL;

CREATE TABLE headers (
  run BIGINT PRIMARY KEY,
  body BYTEA NOT NULL
);

CREATE TABLE nodes (
  run BIGINT NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  body BYTEA NOT NULL,
  PRIMARY KEY (run, id)
);

CREATE TABLE effects (
  number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run BIGINT NOT NULL,
  key TEXT COLLATE "C" NOT NULL,
  body BYTEA NOT NULL,
  UNIQUE (run, key)
);

CREATE TABLE events (
  run BIGINT NOT NULL,
  number BIGINT NOT NULL,
  body BYTEA NOT NULL,
  PRIMARY KEY (run, number)
);

CREATE TABLE documents (
  kind TEXT COLLATE "C" NOT NULL,
  key TEXT COLLATE "C" NOT NULL,
  body BYTEA NOT NULL,
  PRIMARY KEY (kind, key)
);
