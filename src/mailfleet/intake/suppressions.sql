-- Suppressions by the hundred thousand, in and out.

-- name: prepare
-- Callers: import_suppressions, once. The table holds the chunk in hand.
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_ban (
    digest bytea, kind text, value text, reason text, source text, at timestamptz
) ON COMMIT DELETE ROWS

-- name: open_run
INSERT INTO import_run (kind, file_name) VALUES ('suppressions', %(file_name)s) RETURNING id

-- name: close_run
UPDATE import_run SET finished_at = clock_timestamp(), counts = %(counts)s WHERE id = %(run)s

-- name: fill
-- Callers: import_suppressions, each chunk. No cell holds the three control characters, so nothing needs escaping.
COPY incoming_ban FROM STDIN (FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01', ESCAPE E'\x01')

-- name: take_in
-- What stands already is left as it is, an erased one above all. In the order of the digests, so that two imports never
-- wait for each other in a circle. Callers: import_suppressions, each chunk. Index: suppression_pkey. Rows: the chunk.
INSERT INTO suppression (digest, kind, value, reason, source, created_at)
SELECT DISTINCT ON (digest) digest, kind, value, reason, source, coalesce(at, clock_timestamp())
FROM incoming_ban ORDER BY digest, at
ON CONFLICT DO NOTHING

-- name: all
-- Callers: write_suppressions, streamed. Rows: every ban, the oldest first.
SELECT kind, value, digest, reason, source, created_at FROM suppression ORDER BY created_at, digest

-- name: find
-- The newest that a search meets: by a part of the value or of the reason, or by one of the digests of an address.
-- Callers: find_suppressions. Index: none for a part; people search seldom.
SELECT kind, value, reason, source, created_at FROM suppression
WHERE %(pattern)s::text IS NULL OR value ILIKE %(pattern)s OR reason ILIKE %(pattern)s
   OR digest = ANY(%(digests)s::bytea[])
ORDER BY created_at DESC LIMIT %(most)s

-- name: count
SELECT count(*) AS bans, count(*) FILTER (WHERE value IS NULL) AS erased FROM suppression
