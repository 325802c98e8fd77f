-- All that is held about one person: shown, and taken away. `contact` is null where only mail of a stranger is at hand.

-- name: find_contact
-- By the address, else by the digest that an erasure left. Callers: contact_data. Index: contact_address_unique; none for
-- the erased, for whom the contacts are read.
SELECT id FROM contact WHERE address_key = %(key)s
UNION ALL
SELECT id FROM contact WHERE digests[1] = %(digest)s AND erased_at IS NOT NULL
LIMIT 1

-- name: show_contact
SELECT c.address, c.first_name, c.last_name, c.company, c.title, c.country, c.time_zone, c.attributes, c.source,
       c.source_url, c.collected_on, c.lawful_basis, r.file_name AS imported_from, r.started_at AS imported_at,
       b.address AS written_to_from, c.created_at, c.erased_at
FROM contact c LEFT JOIN import_run r ON r.id = c.import_run_id LEFT JOIN mailbox b ON b.id = c.mailbox_id
WHERE c.id = %(contact)s

-- name: show_lists
SELECT l.name FROM list_member m JOIN contact_list l ON l.id = m.contact_list_id
WHERE m.contact_id = %(contact)s ORDER BY l.name

-- name: show_enrollments
SELECT g.name AS campaign, i.legal_name AS written_by, e.state, e.next_step, e.next_at, e.paused_until, e.reason,
       e.reason_at
FROM enrollment e JOIN campaign g ON g.id = e.campaign_id JOIN identity i ON i.id = g.identity_id
WHERE e.contact_id = %(contact)s ORDER BY e.id

-- name: show_letters
SELECT g.name AS campaign, s.number AS step, v.name AS variant, b.address AS mailbox, m.header_id AS message_id,
       m.subject, m.state, m.due_at, m.created_at, m.settled_at, m.reason, convert_from(p.content, 'UTF8') AS copy,
       coalesce((SELECT json_agg(json_build_object('at', a.reserved_at, 'outcome', a.outcome, 'settled_at', a.settled_at,
                                                   'code', a.code, 'reply', a.reply) ORDER BY a.number)
                 FROM attempt a WHERE a.message_id = m.id), '[]') AS attempts
FROM message m
JOIN campaign g ON g.id = m.campaign_id
JOIN step s ON s.id = m.step_id
JOIN variant v ON v.id = m.variant_id
JOIN mailbox b ON b.id = m.mailbox_id
LEFT JOIN sent_copy p ON p.message_id = m.id
WHERE m.contact_id = %(contact)s ORDER BY m.id

-- name: show_incoming
-- Index: incoming by contact, by message; the senders' addresses are read.
SELECT b.address AS mailbox, i.folder, i.received_at, i.read_at, i.kind, i.header_id AS message_id, i.sender_address,
       i.sender_name, i.subject, i.text, i.details, i.question, i.decision, i.decided_at
FROM incoming i JOIN mailbox b ON b.id = i.mailbox_id
WHERE i.id = ANY(%(incoming)s) ORDER BY i.received_at, i.id

-- name: show_events
SELECT v.kind, v.at, g.name AS campaign, b.address AS mailbox, v.is_hard, v.text
FROM event v JOIN campaign g ON g.id = v.campaign_id JOIN mailbox b ON b.id = v.mailbox_id
WHERE v.contact_id = %(contact)s ORDER BY v.at, v.id

-- name: show_suppressions
-- Those of the address, its domain and its company. Index: suppression_pkey.
SELECT kind, value, reason, source, created_at FROM suppression
WHERE digest = ANY(%(digests)s::bytea[]) OR digest = ANY((SELECT digests FROM contact WHERE id = %(contact)s)::bytea[])
ORDER BY created_at

-- name: find_incoming
-- Mail from a person, and mail about the letters to them. Index: incoming by contact, by message.
SELECT id FROM incoming
WHERE contact_id = %(contact)s OR lower(sender_address) = ANY(%(addresses)s)
   OR message_id IN (SELECT id FROM message WHERE contact_id = %(contact)s)

-- name: try_between_imports
-- Callers: erase, after the ban. Locks: advisory, that of an import, until `let_imports` or the connection's end.
SELECT pg_try_advisory_lock(%(import_lock)s) AS is_ours

-- name: await_imports
SELECT pg_advisory_lock(%(import_lock)s)

-- name: let_imports
SELECT pg_advisory_unlock(%(import_lock)s)

-- name: erase_contact
-- The digest of the address stays, for the gate. Callers: erase, with each below. Index: contact_pkey. Waits for copies
-- that are being kept (sent_copies.sql).
UPDATE contact SET address = 'erased-' || id || '@erased.invalid', address_key = 'erased-' || id || '@erased.invalid',
    domain = 'erased.invalid', digests = ARRAY[%(digest)s::bytea], first_name = '', last_name = '', company = '',
    title = '', country = '', time_zone = '', attributes = '{}', source = '', source_url = '', collected_on = NULL,
    lawful_basis = 'none', erased_at = coalesce(erased_at, clock_timestamp())
WHERE id = %(contact)s

-- name: leave_lists
DELETE FROM list_member WHERE contact_id = %(contact)s

-- name: erase_enrollments
-- Callers: erase, after `suppress` has ended them. Index: enrollment by contact.
UPDATE enrollment SET reason = 'the contact was erased' WHERE contact_id = %(contact)s AND reason <> ''

-- name: erase_messages
-- The row stays, so that the step is never written again. Index: message by contact.
UPDATE message SET subject = '', reason = CASE WHEN reason = '' THEN '' ELSE 'the contact was erased' END
WHERE contact_id = %(contact)s

-- name: erase_attempts
-- Code, class and rule stay; the words of a server name the recipient. Index: message by contact, attempt_number_unique.
UPDATE attempt a SET reply = '' FROM message m WHERE m.contact_id = %(contact)s AND a.message_id = m.id AND a.reply <> ''

-- name: erase_evidence
-- Holds keep the reply that they were set for. Index: none; holds are few.
UPDATE hold h SET evidence = h.evidence - 'reply'
FROM message m JOIN attempt a ON a.message_id = m.id
WHERE m.contact_id = %(contact)s AND h.evidence ->> 'attempt' = a.id::text

-- name: drop_copies
-- Callers: erase, after `erase_contact`, from where on no more is kept; once more after the commit.
DELETE FROM sent_copy p USING message m WHERE m.contact_id = %(contact)s AND p.message_id = m.id

-- name: erase_incoming
-- The digest of the head stays, so that the mail, which lies in the mailbox still, is never taken in again.
UPDATE incoming SET header_id = '', sender_address = '', sender_name = '', subject = '', text = '', details = '{}',
    question = '', decision = CASE WHEN decided_at IS NULL THEN 'erased' ELSE decision END,
    decided_at = coalesce(decided_at, clock_timestamp())
WHERE id = ANY(%(incoming)s)

-- name: erase_events
UPDATE event SET text = '' WHERE contact_id = %(contact)s AND text <> ''

-- name: erase_suppression
-- Index: suppression_pkey.
UPDATE suppression SET value = NULL, reason = 'asked to be forgotten', evidence = '{}' WHERE digest = %(digest)s

-- name: left_behind
-- Whose mailboxes hold letters to the person or mail from them, and how many letters are not settled yet.
SELECT ARRAY(SELECT DISTINCT b.address FROM mailbox b WHERE b.id IN (
                 SELECT mailbox_id FROM message WHERE contact_id = %(contact)s AND attempts > 0
                 UNION SELECT mailbox_id FROM incoming WHERE id = ANY(%(incoming)s)) ORDER BY b.address) AS mailboxes,
       (SELECT count(*) FROM message WHERE contact_id = %(contact)s AND state = 'submitting') AS in_hand,
       (SELECT count(*) FROM message WHERE contact_id = %(contact)s AND state = 'ambiguous') AS ambiguous
