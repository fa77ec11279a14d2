ALTER TABLE runs ADD COLUMN live INTEGER NOT NULL DEFAULT 1;
ALTER TABLE runs ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
UPDATE schema_version SET version = 2, oldest_compatible = 2;
