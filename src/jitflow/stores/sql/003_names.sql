-- Names are drawn at random: each new run wrote a page of each of these for itself. Who holds a name is known in memory, for one
-- server at a time writes the file.
DROP INDEX runs_by_name;
DROP INDEX runs_live_name;
UPDATE schema_version SET version = 3, oldest_compatible = 3;
