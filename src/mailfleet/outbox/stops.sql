-- Stops of many contacts at once. What a ban forbids is told by `contact.digests`, as at the gate.

-- name: company_names
-- Every spelling of a company's name. Callers: suppress_companies, streamed. Rows: the companies of all contacts.
SELECT DISTINCT company FROM contact WHERE company <> ''

-- name: find_of_companies
-- Contacts whose company is spelt so, or was at another time. Callers: suppress_companies, before the stop.
-- Index: none; the contacts are read once.
SELECT id FROM contact WHERE company = ANY(%(names)s::text[]) OR digests && %(digests)s::bytea[]

-- name: mark_of_companies
-- Contacts that came in before digests of companies were kept get theirs. Callers: suppress_companies.
-- Index: contact_pkey. Locks: the contacts that had none.
UPDATE contact c SET digests = c.digests || n.digest
FROM unnest(%(names)s::text[], %(name_digests)s::bytea[]) AS n (name, digest)
WHERE c.id = ANY(%(contacts)s::bigint[]) AND c.company = n.name AND NOT n.digest = ANY(c.digests)

-- name: find_suppressed
-- Contacts that are written to though a ban forbids it: the gate would end each when its turn comes.
-- Callers: end_suppressed, outside the stop. Index: suppression_pkey, contact_pkey. Rows: the active enrollments.
SELECT DISTINCT c.id FROM enrollment e JOIN contact c ON c.id = e.contact_id
WHERE e.state = 'active' AND EXISTS (SELECT 1 FROM suppression s WHERE s.digest = ANY(c.digests))
ORDER BY c.id

-- name: end_contacts
-- Ends the active enrollments of contacts, and their queued letters; the reason is that of the ban.
-- Callers: suppress_companies, end_suppressed. Index: enrollment by contact, message_never_twice, suppression_pkey.
WITH ended AS (
    UPDATE enrollment e SET state = 'stopped', next_at = NULL, reason_code = 'suppressed',
        reason = 'suppressed: ' || s.reason, reason_at = clock_timestamp()
    FROM contact c
    CROSS JOIN LATERAL (SELECT reason FROM suppression WHERE digest = ANY(c.digests) LIMIT 1) AS s
    WHERE c.id = ANY(%(contacts)s::bigint[]) AND e.contact_id = c.id AND e.state = 'active'
    RETURNING e.id, e.reason
), cancelled AS (
    UPDATE message m SET state = 'cancelled', settled_at = clock_timestamp(), reason_code = 'suppressed',
        reason = ended.reason
    FROM ended WHERE m.enrollment_id = ended.id AND m.state = 'queued'
    RETURNING m.id
)
SELECT (SELECT count(*) FROM ended) AS enrollments, (SELECT count(*) FROM cancelled) AS messages
