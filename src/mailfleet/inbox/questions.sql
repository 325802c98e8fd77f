-- What waits for a person, and what a person decides.

-- name: questions
-- Callers: read_waiting. Index: incoming_asked. Rows: at most `most`, the oldest first.
SELECT i.id, i.read_at, i.kind, i.sender_address, i.subject, i.question, c.address AS contact, b.address AS mailbox
FROM incoming i
JOIN mailbox b ON b.id = i.mailbox_id
LEFT JOIN contact c ON c.id = i.contact_id
WHERE i.decided_at IS NULL AND i.question <> '' ORDER BY i.read_at LIMIT %(most)s

-- name: unmatched
-- Callers: read_waiting. Index: incoming_unmatched. Rows: at most `most`, the oldest first.
SELECT i.id, i.read_at, i.kind, i.sender_address, i.subject, i.folder, b.address AS mailbox
FROM incoming i JOIN mailbox b ON b.id = i.mailbox_id
WHERE i.decided_at IS NULL AND i.message_id IS NULL AND i.question = '' ORDER BY i.read_at LIMIT %(most)s

-- name: counts
-- Callers: read_waiting. Index: incoming_asked, incoming_unmatched.
SELECT (SELECT count(*) FROM incoming WHERE decided_at IS NULL AND question <> '') AS questions,
       (SELECT count(*) FROM incoming WHERE decided_at IS NULL AND message_id IS NULL AND question = '') AS unmatched,
       (SELECT count(*) FROM watcher WHERE stopped_at IS NULL AND seen_at > clock_timestamp() - interval '2 minutes') AS watchers

-- name: unread
-- Mailboxes that fail, or whose last good read is older than `old`. Callers: read_waiting. Rows: at most the fleet.
SELECT b.address, r.read_at, r.failing_since, r.failures,
       coalesce(nullif(r.fault_text, ''), CASE WHEN b.imap_host = '' THEN 'no server is known to read it from' ELSE '' END)
           AS fault
FROM mailbox b LEFT JOIN reading r ON r.mailbox_id = b.id
WHERE b.retired_at IS NULL
  AND (r.failing_since IS NOT NULL OR r.read_at IS NULL OR r.read_at < clock_timestamp() - %(old)s::interval)
ORDER BY r.read_at NULLS FIRST, b.address

-- name: mail
-- One mail, with the letter it is about. Callers: read_one, decide_mail. Index: incoming_pkey. Rows: at most one.
SELECT i.id, i.kind, i.read_at, i.received_at, i.folder, i.sender_address, i.sender_name, i.subject, i.text, i.question,
       i.decision, i.decided_at, i.decided_by, i.matched_by, i.contact_id, b.address AS mailbox, m.id AS letter_id,
       m.subject AS letter_subject, m.mailbox_id, m.campaign_id, g.name AS campaign, g.reply_stops, c.address AS contact,
       c.address_key, c.company, c.domain, c.erased_at, coalesce(c.digests[1], '') AS digest
FROM incoming i
JOIN mailbox b ON b.id = i.mailbox_id
LEFT JOIN message m ON m.id = i.message_id
LEFT JOIN campaign g ON g.id = m.campaign_id
LEFT JOIN contact c ON c.id = i.contact_id
WHERE i.id = %(mail)s

-- name: contact
-- Callers: decide_mail, for a mail without a letter. Index: contact_address_unique.
SELECT id AS contact_id, address, address_key, company, domain, erased_at, coalesce(digests[1], '') AS digest
FROM contact WHERE address_key = %(address)s

-- name: settle_mail
-- A person's word, once; over that of a rule. Callers: decide_mail. Index: incoming_pkey.
UPDATE incoming SET decision = %(decision)s, decided_at = clock_timestamp(), decided_by = %(by)s, kind = %(kind)s,
    contact_id = coalesce(contact_id, %(contact)s)
WHERE id = %(mail)s AND (decided_at IS NULL OR decided_by = 'rule')
RETURNING id

-- name: learn_decision
-- What a person found out of a letter. Callers: decide_mail. Index: message_pkey, event_once.
INSERT INTO event (kind, message_id, contact_id, mailbox_id, campaign_id, incoming_id)
SELECT %(kind)s, m.id, m.contact_id, m.mailbox_id, m.campaign_id, %(mail)s FROM message m WHERE m.id = %(letter)s
ON CONFLICT DO NOTHING

-- name: resume
-- Ends the pause that waited for a person, unless another question stands; an absence that was named goes on.
-- Callers: decide_mail. Index: enrollment by contact, incoming by contact. Rows: few.
UPDATE enrollment SET paused_until = away.until, reason_at = clock_timestamp(),
    reason_code = CASE WHEN away.until > clock_timestamp() THEN 'away' ELSE '' END,
    reason = CASE WHEN away.until > clock_timestamp()
                  THEN 'away until ' || (away.until AT TIME ZONE 'UTC')::date || ', says an automatic reply' ELSE '' END
FROM (SELECT max((i.details ->> 'until')::timestamptz) AS until FROM incoming i
      WHERE i.contact_id = %(contact)s AND i.kind = 'auto_reply' AND i.question = '') AS away
WHERE contact_id = %(contact)s AND state = 'active' AND paused_until = %(forever)s
  AND NOT EXISTS (SELECT 1 FROM incoming WHERE contact_id = %(contact)s AND decided_at IS NULL AND question <> '')
RETURNING id
