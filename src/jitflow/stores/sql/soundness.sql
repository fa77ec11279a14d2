-- What is looked for in, and taken out of, a damaged state: the same words in SQLite and PostgreSQL.

-- name: lost_parts
SELECT 'headers' AS part, run, count(*) FROM headers WHERE run NOT IN (SELECT id FROM runs) GROUP BY run
UNION ALL SELECT 'nodes', run, count(*) FROM nodes WHERE run NOT IN (SELECT id FROM runs) GROUP BY run
UNION ALL SELECT 'effects', run, count(*) FROM effects WHERE run NOT IN (SELECT id FROM runs) GROUP BY run
UNION ALL SELECT 'events', run, count(*) FROM events WHERE run NOT IN (SELECT id FROM runs) GROUP BY run

-- name: without_header
SELECT uid, namespace, name FROM runs WHERE id NOT IN (SELECT run FROM headers)

-- name: sequences
SELECT (SELECT value FROM counters WHERE name = 'sequence'), (SELECT coalesce(max(sequence), 0) FROM runs)

-- name: miscounted_events
SELECT runs.id, uid, namespace, runs.name, runs.events, count(events.number)
FROM runs LEFT JOIN events ON events.run = runs.id
GROUP BY runs.id, uid, namespace, runs.name, runs.events
HAVING count(events.number) <> runs.events OR coalesce(max(events.number), 0) <> runs.events

-- name: delete_lost_headers
DELETE FROM headers WHERE run NOT IN (SELECT id FROM runs)

-- name: delete_lost_nodes
DELETE FROM nodes WHERE run NOT IN (SELECT id FROM runs)

-- name: delete_lost_effects
DELETE FROM effects WHERE run NOT IN (SELECT id FROM runs)

-- name: delete_lost_events
DELETE FROM events WHERE run NOT IN (SELECT id FROM runs)
