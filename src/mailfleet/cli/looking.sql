-- What status and why ask. Small results; each counts over partial indexes or one scope.

-- name: counts
SELECT
    (SELECT count(*) FROM message WHERE state = 'queued' AND due_at IS NOT NULL) AS queued,
    (SELECT count(*) FROM message WHERE state = 'queued' AND due_at < clock_timestamp() - interval '5 seconds') AS late,
    (SELECT count(*) FROM message WHERE state = 'queued' AND due_at IS NULL) AS waiting_for_plan,
    (SELECT count(*) FROM message WHERE state = 'submitting') AS submitting,
    (SELECT count(*) FROM message WHERE state = 'ambiguous') AS ambiguous,
    (SELECT count(*) FROM attempt WHERE reserved_at >= date_trunc('day', clock_timestamp()) AND outcome = 'accepted')
        AS sent_today,
    (SELECT count(*) FROM attempt WHERE reserved_at >= date_trunc('day', clock_timestamp()) AND outcome = 'deferred')
        AS deferred_today,
    (SELECT count(*) FROM attempt WHERE reserved_at >= date_trunc('day', clock_timestamp()) AND outcome = 'rejected')
        AS rejected_today,
    (SELECT count(*) FROM hold WHERE lifted_at IS NULL AND (until IS NULL OR until > clock_timestamp())) AS holds,
    (SELECT count(*) FROM mailbox WHERE retired_at IS NULL) AS mailboxes,
    (SELECT count(*) FROM sender WHERE stopped_at IS NULL AND seen_at > clock_timestamp() - interval '2 minutes') AS senders

-- name: campaigns
SELECT g.name, g.state, g.reason, i.name AS identity,
       (SELECT count(*) FROM enrollment e WHERE e.campaign_id = g.id AND e.state = 'active') AS active,
       (SELECT count(*) FROM enrollment e WHERE e.campaign_id = g.id AND e.state <> 'active') AS ended,
       (SELECT count(*) FROM message m WHERE m.campaign_id = g.id AND m.state = 'accepted') AS accepted,
       (SELECT count(*) FROM message m WHERE m.campaign_id = g.id AND m.state = 'rejected') AS rejected
FROM campaign g JOIN identity i ON i.id = g.identity_id ORDER BY g.id

-- name: holds
SELECT h.scope_kind, h.scope_key, h.reason, h.since, h.until, h.set_by,
       CASE h.scope_kind
           WHEN 'mailbox' THEN (SELECT address FROM mailbox WHERE id::text = h.scope_key)
           WHEN 'domain' THEN (SELECT name FROM domain WHERE id::text = h.scope_key)
           WHEN 'account' THEN (SELECT p.name || '/' || a.name FROM account a JOIN provider p ON p.id = a.provider_id
                                WHERE a.id::text = h.scope_key)
           WHEN 'provider' THEN (SELECT name FROM provider WHERE id::text = h.scope_key)
           WHEN 'identity' THEN (SELECT name FROM identity WHERE id::text = h.scope_key)
           WHEN 'campaign' THEN (SELECT name FROM campaign WHERE id::text = h.scope_key)
           ELSE h.scope_key END AS scope_name
FROM hold h WHERE h.lifted_at IS NULL AND (h.until IS NULL OR h.until > clock_timestamp()) ORDER BY h.since

-- name: why_unplanned
-- Why active enrollments have no letter in the queue, by reason.
SELECT reason_code, min(reason) AS example, count(*) AS enrollments FROM enrollment
WHERE state = 'active' AND next_at IS NOT NULL AND reason_code <> '' GROUP BY reason_code ORDER BY 3 DESC

-- name: why_mailbox
SELECT b.id, b.address, r.code, r.text, r.binding, r.used, r.maximum, r.free_at, r.decided_at, l.next_at, b.retired_at,
       ramp.sending_days, ramp.last_on, b.daily_limit,
       (SELECT min(due_at) FROM message m WHERE m.mailbox_id = b.id AND m.state = 'queued' AND m.due_at IS NOT NULL) AS next_due,
       (SELECT count(*) FROM message m WHERE m.mailbox_id = b.id AND m.state = 'queued' AND m.due_at IS NOT NULL) AS queued
FROM mailbox b JOIN lease l ON l.mailbox_id = b.id JOIN ramp ON ramp.mailbox_id = b.id
LEFT JOIN mailbox_reason r ON r.mailbox_id = b.id
WHERE b.address = lower(%(name)s)

-- name: last_attempts
SELECT a.reserved_at, a.outcome, a.reply, a.stage, c.address AS recipient
FROM attempt a JOIN message m ON m.id = a.message_id JOIN contact c ON c.id = m.contact_id
WHERE a.mailbox_id = %(mailbox)s ORDER BY a.id DESC LIMIT 5

-- name: why_campaign
SELECT e.state, e.reason_code, min(e.reason) AS example, count(*) AS enrollments,
       count(*) FILTER (WHERE e.next_at IS NULL AND e.state = 'active') AS in_queue
FROM enrollment e JOIN campaign g ON g.id = e.campaign_id WHERE g.name = %(name)s
GROUP BY e.state, e.reason_code ORDER BY count(*) DESC

-- name: campaign
SELECT id, name, state, reason, started_at FROM campaign WHERE name = %(name)s

-- name: why_contact
SELECT c.id, c.address, c.lawful_basis, c.source, b.address AS mailbox, s.reason AS suppressed, s.created_at AS suppressed_at
FROM contact c LEFT JOIN mailbox b ON b.id = c.mailbox_id
LEFT JOIN LATERAL (SELECT reason, created_at FROM suppression WHERE digest = ANY(c.digests) LIMIT 1) AS s ON true
WHERE c.address_key = %(name)s

-- name: contact_enrollments
SELECT g.name AS campaign, e.state, e.next_step, e.next_at, e.reason_code, e.reason,
       CASE WHEN e.state = 'active' AND e.paused_until > clock_timestamp() THEN e.paused_until END AS paused_until
FROM enrollment e JOIN campaign g ON g.id = e.campaign_id WHERE e.contact_id = %(contact)s ORDER BY e.id

-- name: contact_messages
SELECT s.number AS step, m.state, m.due_at, m.settled_at, m.reason, m.attempts, b.address AS mailbox, m.subject
FROM message m JOIN step s ON s.id = m.step_id JOIN mailbox b ON b.id = m.mailbox_id
WHERE m.contact_id = %(contact)s ORDER BY m.id

-- name: contact_events
-- What came back about a contact's letters; without a mail, by the opt-out page.
SELECT v.at, v.kind, v.is_hard, v.enhanced, v.text, s.number AS step, v.incoming_id AS mail, i.matched_by
FROM event v JOIN message m ON m.id = v.message_id JOIN step s ON s.id = m.step_id
LEFT JOIN incoming i ON i.id = v.incoming_id
WHERE v.contact_id = %(contact)s ORDER BY v.at, v.id

-- name: contact_questions
SELECT id, read_at, question FROM incoming
WHERE contact_id = %(contact)s AND decided_at IS NULL AND question <> '' ORDER BY id
