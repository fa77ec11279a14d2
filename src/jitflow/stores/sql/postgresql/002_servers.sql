-- Servers that stand by, and how often the lead has changed hands.
ALTER TABLE holder ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;

CREATE TABLE servers (
  id TEXT COLLATE "C" PRIMARY KEY,
  body TEXT NOT NULL,
  began_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
  told_at TIMESTAMPTZ NOT NULL
);

UPDATE schema_version SET version = 2, oldest_compatible = 1;
