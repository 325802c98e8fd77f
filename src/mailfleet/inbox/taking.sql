-- What a mail means: which letter it is about, what is learned, what is stopped. A mail costs two statements when it
-- means nothing, eight in one transaction when it stops somebody.

-- name: find_letters
-- The letters that a mail may be about, with what is known of the mail itself (at least one row). `named` are Message-IDs,
-- `envelopes` such ids left of the @, under the domain of the mailbox.
-- Callers: take_mail. Index: message_header_id_unique, message_pkey, contact_address_unique, message by contact,
-- mailbox_address_key, incoming_once. Rows: the letters named, and ten to each address: of this mailbox, then the latest.
SELECT known.now, known.is_from_us, known.bears_our_id, known.taken_kind, known.taken_message, l.*
FROM (
    SELECT clock_timestamp() AS now,
           EXISTS (SELECT 1 FROM mailbox WHERE address = %(sender)s) AS is_from_us,
           EXISTS (SELECT 1 FROM message WHERE header_id = %(own_id)s) AS bears_our_id,
           (SELECT kind FROM incoming WHERE mailbox_id = %(mailbox)s AND digest = %(digest)s) AS taken_kind,
           (SELECT message_id FROM incoming WHERE mailbox_id = %(mailbox)s AND digest = %(digest)s) AS taken_message
) AS known
LEFT JOIN LATERAL (
    SELECT m.id, m.header_id, m.mailbox_id, m.contact_id, m.campaign_id, m.subject, m.state, c.address_key, c.company,
           c.domain, c.time_zone, c.erased_at, g.reply_stops,
           coalesce(c.digests[1], '') AS digest,
           m.state IN ('accepted', 'ambiguous', 'submitting')
               AND coalesce(m.settled_at, m.created_at) > clock_timestamp() - %(recent)s::interval AS is_recent
    FROM (
        SELECT m.id FROM unnest(%(named)s::text[]) AS want (header_id) JOIN message m ON m.header_id = want.header_id
        UNION
        SELECT m.id FROM mailbox b JOIN domain d ON d.id = b.domain_id
        CROSS JOIN unnest(%(envelopes)s::text[]) AS want (local)
        JOIN message m ON m.header_id = '<' || want.local || '@' || d.name || '>'
        WHERE b.id = %(mailbox)s
        UNION
        SELECT m.id FROM message m WHERE m.id = %(token_message)s
        UNION
        SELECT latest.id FROM contact c
        CROSS JOIN LATERAL (
            SELECT m.id FROM message m
            WHERE m.contact_id = c.id AND m.state IN ('accepted', 'ambiguous', 'submitting')
              AND coalesce(m.settled_at, m.created_at) > clock_timestamp() - %(recent)s::interval
            ORDER BY m.mailbox_id = %(mailbox)s DESC, m.id DESC LIMIT 10
        ) AS latest
        WHERE c.address_key = ANY(%(addresses)s::text[])
    ) AS found
    JOIN message m ON m.id = found.id
    JOIN contact c ON c.id = m.contact_id
    JOIN campaign g ON g.id = m.campaign_id
) AS l ON true

-- name: colleagues
-- Contacts whom a campaign still writes to and who may be of the company of one who answered; names are compared by the
-- caller. Callers: take_mail, decide, for campaigns whose answers stop the company. Index: enrollment_once, contact_pkey.
-- Rows: the campaign's active enrollments are looked through.
SELECT c.id, c.company, c.domain
FROM enrollment e JOIN contact c ON c.id = e.contact_id
WHERE e.campaign_id = %(campaign)s AND e.state = 'active' AND e.contact_id <> %(contact)s
  AND (c.domain = %(domain)s OR (%(word)s <> '' AND c.company ILIKE %(like)s))

-- name: learn
-- The mail, and what is learned from it, once. Nothing in the answer: somebody else has taken it.
-- Callers: take_mail. Index: incoming_once, message_pkey. Rows: one.
WITH taken AS (
    INSERT INTO incoming (mailbox_id, folder, uid_validity, uid, digest, header_id, sender_address, sender_name, subject,
                          received_at, kind, message_id, contact_id, matched_by, text, details, question, decision,
                          decided_at, decided_by)
    VALUES (%(mailbox)s, %(folder)s, %(uid_validity)s, %(uid)s, %(digest)s, %(header_id)s, %(sender_address)s,
            %(sender_name)s, %(subject)s, %(received_at)s, %(kind)s, %(message)s, %(contact)s, %(matched_by)s, %(text)s,
            %(details)s::jsonb, %(question)s, %(decision)s::text,
            CASE WHEN %(decision)s::text <> '' THEN clock_timestamp() END,
            CASE WHEN %(decision)s::text <> '' THEN 'rule' ELSE '' END)
    ON CONFLICT (mailbox_id, digest) DO NOTHING
    RETURNING id
), learned AS (
    INSERT INTO event (kind, message_id, contact_id, mailbox_id, campaign_id, incoming_id, is_hard, reply_class,
                       reply_scope, enhanced, text)
    SELECT %(event)s, m.id, m.contact_id, m.mailbox_id, m.campaign_id, taken.id, %(is_hard)s, %(reply_class)s,
           %(reply_scope)s, %(enhanced)s, %(event_text)s
    FROM taken JOIN message m ON m.id = %(message)s
    WHERE %(event)s::text IS NOT NULL
)
SELECT id FROM taken

-- name: end_enrollments
-- Ends all that is written to a contact, and to colleagues in one campaign; letters in a sender's hand are recalled by it.
-- Callers: stopping. Index: enrollment by contact, enrollment_once, message_never_twice. Rows: few.
WITH ended AS (
    UPDATE enrollment SET state = 'stopped', next_at = NULL, reason_code = %(code)s, reason_at = clock_timestamp(),
        reason = CASE WHEN contact_id = %(contact)s THEN %(reason)s ELSE 'somebody of the same company ' || %(reason)s END
    WHERE state = 'active'
      AND (contact_id = %(contact)s
           OR (campaign_id = %(campaign)s AND contact_id = ANY(%(colleagues)s::bigint[])))
    RETURNING id
), cancelled AS (
    UPDATE message m SET state = 'cancelled', settled_at = clock_timestamp(), reason_code = %(code)s, reason = %(reason)s
    FROM ended WHERE m.enrollment_id = ended.id AND m.state = 'queued'
    RETURNING m.id
)
SELECT (SELECT count(*) FROM ended) AS enrollments, (SELECT count(*) FROM cancelled) AS letters

-- name: pause_enrollments
-- Nothing is written to a contact before a moment; a longer pause stays. Queued letters go back by the planner's next run,
-- or at the gate. Callers: stopping. Index: enrollment by contact. Rows: few.
UPDATE enrollment SET paused_until = %(until)s, reason_code = %(code)s, reason = %(reason)s, reason_at = clock_timestamp()
WHERE contact_id = %(contact)s AND state = 'active' AND %(until)s > clock_timestamp()
  AND (paused_until IS NULL OR paused_until < %(until)s)
RETURNING id

-- name: whose_digest
-- The contact of an address, for a token whose letter is gone. Callers: take_mail, rarely: it reads the whole table.
SELECT id, address_key, erased_at FROM contact WHERE digests[1] = %(digest)s
