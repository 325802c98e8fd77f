-- name: letter_facts
-- What a letter's recipient may see on the page: who wrote, to whom, and whether that address has said no already.
-- Callers: letters, for a page. Index: message_pkey, suppression_pkey. Rows: at most one.
SELECT i.legal_name, i.postal_address, c.address, s.digest IS NOT NULL AS is_suppressed
FROM message m
JOIN contact c ON c.id = m.contact_id
JOIN mailbox b ON b.id = m.mailbox_id
JOIN domain d ON d.id = b.domain_id
JOIN identity i ON i.id = d.identity_id
LEFT JOIN suppression s ON s.digest = c.digests[1]
WHERE m.id = %(message)s

-- name: who_said_no
-- The contacts behind letters, and whether their own address is banned already; the first digest is the address's.
-- Callers: applying. Index: message_pkey, suppression_pkey. Rows: a batch of opt-outs.
SELECT m.id, c.address_key, c.digests[1] AS digest, s.digest IS NOT NULL AS is_suppressed
FROM unnest(%(messages)s::bigint[]) AS want (id)
JOIN message m ON m.id = want.id
JOIN contact c ON c.id = m.contact_id
LEFT JOIN suppression s ON s.digest = c.digests[1]

-- name: date_opt_out
-- A ban that an opt-out set begins when it was said, though it may have waited for the database.
-- Callers: applying. Index: suppression_pkey. Rows: one.
UPDATE suppression SET created_at = %(asked_at)s
WHERE digest = %(digest)s AND source = %(source)s AND created_at > %(asked_at)s
