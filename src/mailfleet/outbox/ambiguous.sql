-- name: ambiguous
-- Letters whose fate is not known, with what is known. Index: message_in_hand.
SELECT m.id, c.address AS recipient, b.address AS mailbox, g.name AS campaign, s.number AS step, m.subject,
       m.header_id, a.id AS attempt_id, a.reserved_at, a.stage, m.reason
FROM message m
JOIN attempt a ON a.message_id = m.id AND a.outcome = 'ambiguous'
JOIN contact c ON c.id = m.contact_id
JOIN mailbox b ON b.id = m.mailbox_id
JOIN campaign g ON g.id = m.campaign_id
JOIN step s ON s.id = m.step_id
WHERE m.state = 'ambiguous' ORDER BY a.reserved_at

-- name: resolve_accepted
-- A person, or a look into its Sent folder, found it sent. Index: message_pkey.
WITH known AS (
    UPDATE attempt a SET outcome = 'accepted', settled_at = clock_timestamp()
    FROM message m WHERE m.id = %(message)s AND m.state = 'ambiguous' AND a.message_id = m.id
      AND a.outcome = 'ambiguous'
    RETURNING a.message_id
), moved AS (
    UPDATE message m SET state = 'accepted', settled_at = clock_timestamp(), reason_code = 'resolved',
        reason = %(reason)s
    FROM known WHERE m.id = known.message_id AND m.state = 'ambiguous'
    RETURNING m.id, m.enrollment_id, m.step_id, m.campaign_id, m.reason
), followed AS (
    UPDATE enrollment e SET next_step = s.number + 1, next_at = clock_timestamp() + n.wait,
        state = CASE WHEN n.id IS NULL THEN 'finished' ELSE e.state END,
        reason_code = CASE WHEN n.id IS NULL THEN 'all_steps_sent' ELSE 'resolved' END,
        reason = CASE WHEN n.id IS NULL THEN 'every step was accepted' ELSE moved.reason END,
        reason_at = clock_timestamp()
    FROM moved JOIN step s ON s.id = moved.step_id
    LEFT JOIN step n ON n.campaign_id = moved.campaign_id AND n.number = s.number + 1
    WHERE e.id = moved.enrollment_id AND e.state = 'active'
)
SELECT id FROM moved

-- name: resolve_again
-- It was made sure that it was not sent: it is planned again, in the same mailbox. Usage stays. Not before `safe_after`
-- since it became ambiguous: until then its server may still be at it. Index: message_pkey.
WITH known AS (
    UPDATE attempt a SET outcome = 'deferred', stage = 'resolved', settled_at = clock_timestamp()
    FROM message m WHERE m.id = %(message)s AND m.state = 'ambiguous' AND a.message_id = m.id
      AND a.outcome = 'ambiguous' AND a.settled_at < clock_timestamp() - %(safe_after)s::interval
    RETURNING a.message_id
), moved AS (
    UPDATE message m SET state = 'queued', due_at = NULL, reason_code = 'resolved',
        reason = %(reason)s
    FROM known WHERE m.id = known.message_id AND m.state = 'ambiguous'
    RETURNING m.id, m.enrollment_id, m.reason
), followed AS (
    UPDATE enrollment e SET next_at = clock_timestamp(), reason_code = 'resolved', reason = moved.reason,
        reason_at = clock_timestamp()
    FROM moved WHERE e.id = moved.enrollment_id AND e.state = 'active'
)
SELECT id FROM moved

-- name: prove_accepted
-- Evidence came that it was sent. One that is being reserved anew meanwhile is in its sender's hand, and left alone.
-- Callers: take_mail, inside its transaction. Index: message_pkey, attempt_number_unique, attempt_pkey. Locks: the attempt
-- and then the message, in the order of a settlement, before anything is written.
WITH locked AS (
    SELECT a.id, a.message_id
    FROM message m JOIN attempt a ON a.message_id = m.id
    WHERE m.id = %(message)s
      AND a.number = (SELECT max(t.number) FROM attempt t WHERE t.message_id = m.id)
      AND ((m.state = 'ambiguous' AND a.outcome = 'ambiguous')
           OR (m.state = 'queued' AND a.outcome = 'deferred' AND a.stage = 'resolved'))
    FOR NO KEY UPDATE OF a, m
), known AS (
    UPDATE attempt a SET outcome = 'accepted', settled_at = clock_timestamp()
    FROM locked WHERE a.id = locked.id
    RETURNING a.message_id
), moved AS (
    UPDATE message m SET state = 'accepted', settled_at = clock_timestamp(), reason_code = 'proven',
        reason = 'found sent by ' || %(by)s
    FROM known WHERE m.id = known.message_id AND m.state IN ('ambiguous', 'queued')
    RETURNING m.id, m.enrollment_id, m.step_id, m.campaign_id
), followed AS (
    UPDATE enrollment e SET next_step = s.number + 1, next_at = clock_timestamp() + n.wait,
        state = CASE WHEN n.id IS NULL THEN 'finished' ELSE e.state END
    FROM moved JOIN step s ON s.id = moved.step_id
    LEFT JOIN step n ON n.campaign_id = moved.campaign_id AND n.number = s.number + 1
    WHERE e.id = moved.enrollment_id AND e.state = 'active'
)
SELECT id FROM moved
