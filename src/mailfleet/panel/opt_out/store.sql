-- name: letter_facts
-- What a letter's recipient may see on the page: who wrote, to whom, and whether that address has said no already.
-- Nothing when the letter is gone, or when its id is now another's.
-- Callers: letters, for a page. Index: message_pkey, suppression_pkey. Rows: at most one.
SELECT i.legal_name, i.postal_address, CASE WHEN c.erased_at IS NULL THEN c.address ELSE '' END AS address, s.digest IS NOT NULL AS is_suppressed
FROM message m
JOIN contact c ON c.id = m.contact_id AND c.digests[1] = %(digest)s
JOIN mailbox b ON b.id = m.mailbox_id
JOIN domain d ON d.id = b.domain_id
JOIN identity i ON i.id = d.identity_id
LEFT JOIN suppression s ON s.digest = c.digests[1]
WHERE m.id = %(message)s

-- name: who_said_no
-- Of tokens: whether the address is banned already, and the letter, if it is there and went to the token's address.
-- Callers: applying. Index: message_pkey, suppression_pkey. Rows: a batch of opt-outs.
SELECT want.id AS asked, want.digest, l.id, l.address_key, s.digest IS NOT NULL AS is_suppressed
FROM unnest(%(messages)s::bigint[], %(digests)s::bytea[]) AS want (id, digest)
LEFT JOIN suppression s ON s.digest = want.digest
LEFT JOIN LATERAL (
    SELECT m.id, c.address_key FROM message m
    JOIN contact c ON c.id = m.contact_id AND c.digests[1] = want.digest AND c.erased_at IS NULL
    WHERE m.id = want.id
) AS l ON true

-- name: whose_digest
-- The contact of an address, for a token whose letter is gone. Callers: applying, rarely: it reads the whole table.
SELECT address_key FROM contact WHERE digests[1] = %(digest)s AND erased_at IS NULL

-- name: ban_digest
-- Of an address that we no longer know; one that stands already is left as it is.
-- Callers: applying, inside a stop. Index: suppression_pkey.
INSERT INTO suppression (digest, kind, reason, source, evidence, created_at)
VALUES (%(digest)s, 'address', %(reason)s, %(source)s, %(evidence)s::jsonb, %(asked_at)s)
ON CONFLICT DO NOTHING

-- name: learn_opt_out
-- What was learned of a letter, once, at the first moment that is known of.
-- Callers: applying. Index: message_pkey, event_once.
INSERT INTO event (kind, at, message_id, contact_id, mailbox_id, campaign_id)
SELECT 'opt_out', %(asked_at)s, id, contact_id, mailbox_id, campaign_id FROM message WHERE id = %(message)s
ON CONFLICT (message_id, kind, incoming_id) DO UPDATE SET at = EXCLUDED.at WHERE event.at > EXCLUDED.at
