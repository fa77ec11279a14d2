-- name: positions
SELECT uid, id, version, events FROM runs WHERE uid = ANY(%s::text[])

-- name: live_names
SELECT namespace, name, uid FROM runs
WHERE finished_at IS NULL AND (namespace, name) IN (SELECT * FROM unnest(%s::text[], %s::text[]))

-- name: claim_batch
UPDATE holder SET batch = %s, renewed_at = now() WHERE owner = %s

-- name: last_batch
SELECT batch FROM holder WHERE owner = %s FOR UPDATE

-- name: select_sequence
SELECT value FROM counters WHERE name = 'sequence'

-- name: save_sequence
UPDATE counters SET value = %s WHERE name = 'sequence'

-- name: delete_headers
DELETE FROM headers WHERE run = ANY(%s::bigint[])

-- name: delete_all_nodes
DELETE FROM nodes WHERE run = ANY(%s::bigint[])

-- name: delete_all_effects
DELETE FROM effects WHERE run = ANY(%s::bigint[])

-- name: delete_events
DELETE FROM events WHERE run = ANY(%s::bigint[])

-- name: delete_runs
DELETE FROM runs WHERE id = ANY(%s::bigint[])

-- name: put_runs
INSERT INTO runs (id, uid, namespace, name, phase, created_at, started_at, finished_at, labels, message, progress, live, archived,
                  version, sequence, events)
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::float8[], %s::float8[], %s::float8[],
                     %b::bytea[], %s::text[], %s::text[], %s::boolean[], %s::boolean[], %s::bigint[], %s::bigint[], %s::bigint[])
ON CONFLICT (uid) DO UPDATE
SET phase = excluded.phase, created_at = excluded.created_at, started_at = excluded.started_at,
    finished_at = excluded.finished_at, labels = excluded.labels, message = excluded.message, progress = excluded.progress,
    live = excluded.live, archived = excluded.archived, version = excluded.version, sequence = excluded.sequence,
    events = excluded.events

-- name: put_headers
INSERT INTO headers (run, body) SELECT * FROM unnest(%s::bigint[], %b::bytea[])
ON CONFLICT (run) DO UPDATE SET body = excluded.body

-- name: put_nodes
INSERT INTO nodes (run, id, body) SELECT * FROM unnest(%s::bigint[], %s::text[], %b::bytea[])
ON CONFLICT (run, id) DO UPDATE SET body = excluded.body

-- name: delete_nodes
DELETE FROM nodes USING unnest(%s::bigint[], %s::text[]) AS gone (run, id) WHERE nodes.run = gone.run AND nodes.id = gone.id

-- name: put_effects
INSERT INTO effects (run, key, body)
SELECT run, key, body FROM unnest(%s::bigint[], %s::text[], %b::bytea[]) WITH ORDINALITY AS new (run, key, body, place)
ORDER BY place
ON CONFLICT (run, key) DO UPDATE SET body = excluded.body

-- name: delete_effects
DELETE FROM effects USING unnest(%s::bigint[], %s::text[]) AS gone (run, key)
WHERE effects.run = gone.run AND effects.key = gone.key

-- name: append_events
INSERT INTO events (run, number, body) SELECT * FROM unnest(%s::bigint[], %s::bigint[], %b::bytea[])

-- name: put_documents
INSERT INTO documents (kind, key, body) SELECT * FROM unnest(%s::text[], %s::text[], %b::bytea[])
ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body

-- name: delete_documents
DELETE FROM documents USING unnest(%s::text[], %s::text[]) AS gone (kind, key)
WHERE documents.kind = gone.kind AND documents.key = gone.key

-- name: select_run
SELECT uid, namespace, name, phase, created_at, started_at, finished_at, labels, message, progress, live, archived, version,
       sequence, id
FROM runs WHERE uid = %s

-- name: select_runs
SELECT uid, namespace, name, phase, created_at, started_at, finished_at, labels, message, progress, live, archived, version,
       sequence
FROM runs
WHERE (%(namespace)s = '' OR namespace = %(namespace)s) AND (%(name)s = '' OR name = %(name)s)
  AND (NOT %(unfinished)s OR finished_at IS NULL)
ORDER BY created_at DESC, id DESC

-- name: select_header
SELECT body FROM headers JOIN runs ON runs.id = headers.run WHERE runs.uid = %s

-- name: select_nodes
SELECT nodes.id, body FROM nodes JOIN runs ON runs.id = nodes.run WHERE runs.uid = %s ORDER BY nodes.id

-- name: select_effects
SELECT key, body FROM effects JOIN runs ON runs.id = effects.run WHERE runs.uid = %s ORDER BY number

-- name: select_events
SELECT number, body FROM events JOIN runs ON runs.id = events.run
WHERE runs.uid = %s AND number > %s ORDER BY number LIMIT %s

-- name: select_document
SELECT body FROM documents WHERE kind = %s AND key = %s

-- name: select_documents
SELECT key, body FROM documents WHERE kind = %s AND (%s = '' OR key > %s) ORDER BY key LIMIT %s

-- name: select_kinds
SELECT DISTINCT kind FROM documents ORDER BY kind

-- name: look_at_holder
SELECT owner, process, extract(epoch FROM clock_timestamp() - renewed_at)::float8, batch, epoch FROM holder

-- name: take_hold
UPDATE holder SET owner = %s, process = %s, batch = 0, epoch = epoch + 1, renewed_at = now() WHERE owner = %s AND batch = %s

-- name: cut_off_holder
SELECT pg_terminate_backend(session.pid) FROM pg_stat_activity AS session JOIN pg_locks AS held ON held.pid = session.pid
WHERE held.relation = 'holder'::regclass AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND held.mode = 'RowExclusiveLock' AND held.granted AND session.pid <> pg_backend_pid() AND session.usename = current_user
  AND session.wait_event = 'ClientRead' AND session.state_change < clock_timestamp() - interval '1 s'

-- name: release_hold
UPDATE holder SET owner = '' WHERE owner = %s

-- name: numbers_of_events
SELECT number FROM events WHERE run = %s ORDER BY number

-- name: renumber_event
UPDATE events SET number = %s WHERE run = %s AND number = %s

-- name: count_events
UPDATE runs SET events = %s WHERE id = %s

-- name: tell_server
INSERT INTO servers (id, body, told_at) VALUES (%s, %s, clock_timestamp())
ON CONFLICT (id) DO UPDATE SET body = excluded.body, told_at = excluded.told_at

-- name: select_servers
SELECT body, extract(epoch FROM clock_timestamp() - told_at)::float8 FROM servers ORDER BY began_at, id

-- name: delete_server
DELETE FROM servers WHERE id = %s OR told_at < clock_timestamp() - interval '1 hour'

