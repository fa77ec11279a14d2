-- name: insert_run
INSERT INTO runs (id, uid, namespace, name, phase, created_at, started_at, finished_at, labels, message, progress, live,
                  archived, version, sequence, events)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: update_run
UPDATE runs
SET phase = ?, created_at = ?, started_at = ?, finished_at = ?, labels = ?, message = ?, progress = ?, live = ?,
    archived = ?, version = ?, sequence = ?, events = ?
WHERE id = ?

-- name: select_position
SELECT uid, id, version, events, namespace, name FROM runs WHERE uid = ?

-- name: select_positions
SELECT uid, id, version, events, namespace, name FROM runs WHERE uid IN (SELECT value FROM json_each(?))

-- name: select_names
SELECT namespace, name, uid FROM runs WHERE finished_at IS NULL

-- name: put_header
INSERT INTO headers (run, body) VALUES (?, ?) ON CONFLICT (run) DO UPDATE SET body = excluded.body

-- name: put_node
INSERT INTO nodes (run, id, body) VALUES (?, ?, ?) ON CONFLICT (run, id) DO UPDATE SET body = excluded.body

-- name: delete_node
DELETE FROM nodes WHERE run = ? AND id = ?

-- name: put_effect
INSERT INTO effects (run, key, body) VALUES (?, ?, ?) ON CONFLICT (run, key) DO UPDATE SET body = excluded.body

-- name: delete_effect
DELETE FROM effects WHERE run = ? AND key = ?

-- name: append_event
INSERT INTO events (run, number, body) VALUES (?, ?, ?)

-- name: delete_header_of_run
DELETE FROM headers WHERE run = ?

-- name: delete_nodes_of_run
DELETE FROM nodes WHERE run = ?

-- name: delete_effects_of_run
DELETE FROM effects WHERE run = ?

-- name: delete_events_of_run
DELETE FROM events WHERE run = ?

-- name: delete_run
DELETE FROM runs WHERE id = ?

-- name: put_document
INSERT INTO documents (kind, key, body) VALUES (?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body

-- name: delete_document
DELETE FROM documents WHERE kind = ? AND key = ?

-- name: save_sequence
UPDATE counters SET value = ? WHERE name = 'sequence'

-- name: select_sequence
SELECT value FROM counters WHERE name = 'sequence'

-- name: select_last_number
SELECT max(value, (SELECT coalesce(max(id), 0) FROM runs)) FROM counters WHERE name = 'sequence'

-- name: select_run
SELECT uid, namespace, name, phase, created_at, started_at, finished_at, labels, message, progress, live, archived, version,
       sequence, id
FROM runs WHERE uid = ?

-- name: select_runs
SELECT uid, namespace, name, phase, created_at, started_at, finished_at, labels, message, progress, live, archived, version,
       sequence
FROM runs
WHERE (?1 = '' OR namespace = ?1) AND (?2 = '' OR name = ?2) AND (NOT ?3 OR finished_at IS NULL)
ORDER BY created_at DESC, id DESC

-- name: select_header
SELECT body FROM headers WHERE run = ?

-- name: select_nodes
SELECT id, body FROM nodes WHERE run = ? ORDER BY id

-- name: select_effects
SELECT key, body FROM effects WHERE run = ? ORDER BY number

-- name: select_events
SELECT events.number, events.body FROM events JOIN runs ON runs.id = events.run
WHERE runs.uid = ? AND events.number > ? ORDER BY events.number LIMIT ?

-- name: select_document
SELECT body FROM documents WHERE kind = ? AND key = ?

-- name: select_documents
SELECT key, body FROM documents WHERE kind = ?1 AND key >= ?2 AND (?2 = '' OR key > ?2) ORDER BY key LIMIT ?3

-- name: select_kinds
SELECT DISTINCT kind FROM documents ORDER BY kind

-- name: numbers_of_events
SELECT number FROM events WHERE run = ? ORDER BY number

-- name: renumber_event
UPDATE events SET number = ? WHERE run = ? AND number = ?

-- name: count_events
UPDATE runs SET events = ? WHERE id = ?
