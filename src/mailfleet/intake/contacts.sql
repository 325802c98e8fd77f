-- Contacts of a file on their way in. Text of the file passes through two temporary tables of one transaction:
-- `incoming` holds the chunk in hand, `late` the rows that meet a contact which is there already. In both, NULL says that
-- the row is silent. `strength` is every lawful basis, the weakest first.

-- name: try_import
-- Callers: import_contacts. Locks: advisory, to the end of the transaction: two imports never merge side by side, so
-- that they cannot wait for each other in a circle.
SELECT pg_try_advisory_xact_lock(%(import_lock)s) AS is_ours

-- name: await_import
SELECT pg_advisory_xact_lock(%(import_lock)s)

-- name: prepare
-- Callers: import_contacts, once. The keys are checked at each statement: they would else all wait for the commit. A
-- client that was killed is noticed within a second, and its transaction undone.
SET LOCAL client_connection_check_interval = '1s';
SET LOCAL work_mem = '64MB';
SET CONSTRAINTS ALL IMMEDIATE;
CREATE TEMPORARY TABLE incoming (
    line bigint, address text, address_key text, domain text, digests bytea[], first_name text, last_name text,
    company text, title text, source text, source_url text, country text, time_zone text, collected_on date,
    lawful_basis text, attributes jsonb
) ON COMMIT DROP;
CREATE TEMPORARY TABLE late (LIKE incoming) ON COMMIT DROP;
CREATE TEMPORARY TABLE changed (
    id bigint, is_known boolean, digests bytea[], first_name text, last_name text, company text, title text,
    source text, source_url text, country text, time_zone text, collected_on date, lawful_basis text, attributes jsonb
) ON COMMIT DROP

-- name: open_run
INSERT INTO import_run (kind, file_name) VALUES ('contacts', %(file_name)s) RETURNING id

-- name: open_list
-- Callers: import_contacts. Index: contact_list_name_key. Zero rows: the list is there.
INSERT INTO contact_list (name) VALUES (%(list_name)s) ON CONFLICT DO NOTHING

-- name: find_list
SELECT id FROM contact_list WHERE name = %(list_name)s

-- name: fill
-- Callers: import_contacts, each chunk. No cell holds the three control characters, so nothing needs escaping.
COPY incoming FROM STDIN (FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01', ESCAPE E'\x01')

-- name: take_out_suppressed
-- Callers: import_contacts, each chunk. Index: suppression_pkey. Rows: the chunk times the labels of its domains.
WITH banned AS (
    SELECT DISTINCT ON (i.line) i.line, s.kind, s.reason, s.value IS NULL AS is_erased
    FROM incoming i CROSS JOIN unnest(i.digests) AS d (digest) JOIN suppression s ON s.digest = d.digest
    ORDER BY i.line, s.kind
), gone AS (
    DELETE FROM incoming USING banned WHERE incoming.line = banned.line
)
SELECT line, kind, reason, is_erased FROM banned ORDER BY line

-- name: take_in_new
-- New contacts and their membership; what is not the first row of a new contact goes to `late`: those are the rows
-- counted. A contact that somebody else adds meanwhile is no longer new, and zero rows come of it.
-- Callers: import_contacts, each chunk. Index: contact_address_unique. Rows: the chunk.
WITH fresh AS (
    INSERT INTO contact (address, address_key, domain, digests, first_name, last_name, company, title, source,
                         source_url, country, time_zone, collected_on, lawful_basis, attributes, import_run_id)
    SELECT DISTINCT ON (address_key) address, address_key, domain, digests, coalesce(first_name, ''),
           coalesce(last_name, ''), coalesce(company, ''), coalesce(title, ''), coalesce(source, ''),
           coalesce(source_url, ''), coalesce(country, ''), coalesce(time_zone, ''), collected_on, lawful_basis,
           coalesce(attributes, '{}'), %(run)s
    FROM incoming ORDER BY address_key, line
    ON CONFLICT (address_key) DO NOTHING
    RETURNING id, address_key
), joined AS (
    INSERT INTO list_member (contact_list_id, contact_id) SELECT %(list)s, id FROM fresh
)
INSERT INTO late (line, address, address_key, domain, digests, first_name, last_name, company, title, source,
                  source_url, country, time_zone, collected_on, lawful_basis, attributes)
SELECT line, address, address_key, domain, digests, first_name, last_name, company, title, source,
       source_url, country, time_zone, collected_on, lawful_basis, attributes
FROM (SELECT *, row_number() OVER (PARTITION BY address_key ORDER BY line) AS number FROM incoming) AS i
LEFT JOIN fresh USING (address_key)
WHERE fresh.id IS NULL OR i.number > 1

-- name: empty_chunk
TRUNCATE incoming

-- name: weigh_late
ANALYZE late

-- name: look_over
-- Tells the planner of queries how the tables have grown: the next command must not wait for autovacuum to notice.
-- Callers: import_contacts, once, at its end.
ANALYZE contact, list_member

-- name: list_repeated
-- Every row whose address stands in an earlier row of the file. Callers: import_contacts, once, streamed, before `fold`.
SELECT l.line
FROM (SELECT line, address_key, row_number() OVER (PARTITION BY address_key ORDER BY line) AS number FROM late) AS l
JOIN contact c ON c.address_key = l.address_key
WHERE l.number > 1 OR c.import_run_id = %(run)s
ORDER BY l.line

-- name: fold
-- Makes one row of those that share an address: of each field the last that is not empty, the strongest basis, with it
-- the last provenance given for that basis, and every digest. Callers: import_contacts, once. Rows: those repeated.
WITH repeated AS (
    SELECT address_key FROM late GROUP BY address_key HAVING count(*) > 1
), gone AS (
    DELETE FROM late USING repeated WHERE late.address_key = repeated.address_key
    RETURNING late.*, array_position(%(strength)s::text[], late.lawful_basis) AS strength,
              num_nonnulls(late.source, late.source_url, late.collected_on) > 0 AS is_told
), cells AS (
    SELECT g.address_key, jsonb_object_agg(a.key, a.value ORDER BY g.line) AS attributes
    FROM gone g CROSS JOIN jsonb_each(g.attributes) AS a (key, value)
    GROUP BY g.address_key
), marks AS (
    SELECT g.address_key, array_agg(DISTINCT d.digest) AS digests
    FROM gone g CROSS JOIN unnest(g.digests) AS d (digest)
    GROUP BY g.address_key
)
INSERT INTO late (line, address_key, digests, first_name, last_name, company, title, country, time_zone, source,
                  source_url, collected_on, lawful_basis, attributes)
SELECT min(line), address_key, marks.digests,
       (array_agg(first_name ORDER BY line DESC) FILTER (WHERE first_name IS NOT NULL))[1],
       (array_agg(last_name ORDER BY line DESC) FILTER (WHERE last_name IS NOT NULL))[1],
       (array_agg(company ORDER BY line DESC) FILTER (WHERE company IS NOT NULL))[1],
       (array_agg(title ORDER BY line DESC) FILTER (WHERE title IS NOT NULL))[1],
       (array_agg(country ORDER BY line DESC) FILTER (WHERE country IS NOT NULL))[1],
       (array_agg(time_zone ORDER BY line DESC) FILTER (WHERE time_zone IS NOT NULL))[1],
       (array_agg(source ORDER BY strength DESC, is_told DESC, line DESC))[1],
       (array_agg(source_url ORDER BY strength DESC, is_told DESC, line DESC))[1],
       (array_agg(collected_on ORDER BY strength DESC, is_told DESC, line DESC))[1],
       (array_agg(lawful_basis ORDER BY strength DESC))[1],
       cells.attributes
FROM gone JOIN marks USING (address_key) LEFT JOIN cells USING (address_key)
GROUP BY address_key, marks.digests, cells.attributes

-- name: find_changed
-- What each contact met by a late row becomes, if that differs. A field that is not empty wins over what is known,
-- attributes one by one. The basis is never lowered, and keeps the provenance it was given with; `digests` are those it lacks.
-- Callers: import_contacts, once. Index: contact_address_unique. Rows: contacts of the file that were there.
INSERT INTO changed
SELECT c.id, c.import_run_id IS DISTINCT FROM %(run)s, m.*
FROM late l
JOIN contact c ON c.address_key = l.address_key
CROSS JOIN LATERAL (
    SELECT array_position(%(strength)s::text[], l.lawful_basis) AS brought,
           array_position(%(strength)s::text[], c.lawful_basis) AS known
) AS basis
CROSS JOIN LATERAL (
    SELECT brought >= known AND num_nonnulls(l.source, l.source_url, l.collected_on) > 0 AS is_newer
) AS provenance
CROSS JOIN LATERAL (
    SELECT ARRAY(SELECT d FROM unnest(l.digests) AS d WHERE d <> ALL(c.digests)) AS digests,
           coalesce(l.first_name, c.first_name) AS first_name, coalesce(l.last_name, c.last_name) AS last_name,
           coalesce(l.company, c.company) AS company, coalesce(l.title, c.title) AS title,
           CASE WHEN is_newer THEN coalesce(l.source, '') ELSE c.source END AS source,
           CASE WHEN is_newer THEN coalesce(l.source_url, '') ELSE c.source_url END AS source_url,
           coalesce(l.country, c.country) AS country, coalesce(l.time_zone, c.time_zone) AS time_zone,
           CASE WHEN is_newer THEN l.collected_on ELSE c.collected_on END AS collected_on,
           CASE WHEN brought > known THEN l.lawful_basis ELSE c.lawful_basis END AS lawful_basis,
           c.attributes || coalesce(l.attributes, '{}') AS attributes
) AS m
WHERE m.digests <> '{}' OR
      (m.first_name, m.last_name, m.company, m.title, m.source, m.source_url, m.country, m.time_zone, m.collected_on,
       m.lawful_basis, m.attributes)
   IS DISTINCT FROM
      (c.first_name, c.last_name, c.company, c.title, c.source, c.source_url, c.country, c.time_zone, c.collected_on,
       c.lawful_basis, c.attributes)

-- name: count_late
-- Callers: import_contacts, once, after `find_changed` and before `change`.
SELECT (SELECT count(*) FROM late l JOIN contact c ON c.address_key = l.address_key
        WHERE c.import_run_id IS DISTINCT FROM %(run)s) AS known,
       (SELECT count(*) FROM changed WHERE is_known) AS changed,
       (SELECT count(*) FROM changed) AS written

-- name: join_known
-- Contacts that were there become members. Callers: import_contacts, once. Index: list_member_once.
INSERT INTO list_member (contact_list_id, contact_id)
SELECT %(list)s, c.id FROM late l JOIN contact c ON c.address_key = l.address_key ORDER BY c.id
ON CONFLICT DO NOTHING

-- name: change
-- No digest is ever taken away: a ban holds whatever a later file calls the company, and so does one set meanwhile.
-- Nothing comes to an erased contact, though an erasure waits for imports.
-- Callers: import_contacts, once, inside `stops.stopping`: a reservation locks contacts too, in an order of its own.
-- Index: contact_pkey. Locks: the contacts that change.
UPDATE contact SET
    digests = contact.digests || ARRAY(SELECT d FROM unnest(n.digests) AS d WHERE d <> ALL(contact.digests)),
    first_name = n.first_name, last_name = n.last_name, company = n.company, title = n.title, source = n.source,
    source_url = n.source_url, country = n.country, time_zone = n.time_zone, collected_on = n.collected_on,
    lawful_basis = n.lawful_basis, attributes = n.attributes, import_run_id = %(run)s
FROM changed n WHERE contact.id = n.id AND contact.erased_at IS NULL

-- name: count_not_sendable
-- Callers: import_contacts, once. Index: list_member_once, contact_pkey. Rows: the list.
SELECT count(*) AS contacts FROM list_member m JOIN contact c ON c.id = m.contact_id
WHERE m.contact_list_id = %(list)s AND c.lawful_basis = 'none'

-- name: close_run
UPDATE import_run SET finished_at = clock_timestamp(), counts = %(counts)s WHERE id = %(run)s
