-- The queue's hot path. Scopes of a message: mailbox, domain, account, provider, identity, campaign, recipient domain,
-- recipient provider (where it is known), sender host, fleet. `clock_timestamp()` is the time of leases and limits in
-- every process.

-- name: begin
-- First statement of a reservation. The shared lock lets reservations run side by side and orders each before or after
-- every stop (a suppression, a hold, a paused campaign), which takes it exclusively.
-- Callers: reserve. Locks: advisory, shared, to the end of the transaction.
SELECT pg_advisory_xact_lock_shared(%(stop_lock)s), clock_timestamp() AS now

-- name: stop_begin
-- First statement of a stop: waits for reservations under way, none begins before the stop is committed.
-- Callers: stops. Locks: advisory, exclusive, to the end of the transaction.
SELECT pg_advisory_xact_lock(%(stop_lock)s)

-- name: lease_mailboxes
-- Takes up to `room` mailboxes with letters due soon that nobody holds, longest-waiting first. A lease that ran out is
-- taken over: its last letter may have left as late as its end, so the pace counts from there.
-- Callers: sender, each tick. Index: message_due; lease_pkey. Rows: mailboxes due within `ahead`. Locks: lease rows.
WITH waiting AS (
    SELECT mailbox_id, min(due_at) AS due_at
    FROM message
    WHERE state = 'queued' AND due_at <= clock_timestamp() + %(ahead)s::interval AND due_at > clock_timestamp() - %(late_after)s::interval
    GROUP BY mailbox_id
), free AS (
    SELECT l.mailbox_id, l.sender_id IS NOT NULL AS is_takeover, l.expires_at AS ended_at
    FROM waiting w JOIN lease l ON l.mailbox_id = w.mailbox_id
    WHERE (l.sender_id IS NULL OR l.expires_at <= clock_timestamp())
      AND (l.next_at IS NULL OR l.next_at <= clock_timestamp() + %(ahead)s::interval)
    ORDER BY w.due_at, l.mailbox_id
    LIMIT %(room)s
    FOR UPDATE OF l SKIP LOCKED
)
UPDATE lease
SET sender_id = %(sender)s,
    fence = lease.fence + 1,
    expires_at = clock_timestamp() + %(lease)s::interval,
    next_at = CASE WHEN free.is_takeover
                   THEN greatest(lease.next_at, free.ended_at + make_interval(secs => b.pace_seconds))
                   ELSE lease.next_at END
FROM free JOIN mailbox b ON b.id = free.mailbox_id
WHERE lease.mailbox_id = free.mailbox_id
RETURNING lease.mailbox_id, lease.fence, lease.expires_at, clock_timestamp() AS now

-- name: renew_leases
-- Prolongs the leases that a sender works with, if they have not run out; one that has is not in the answer and is lost.
-- A lease whose grant the sender never heard of is not prolonged, and ends by itself.
-- Callers: sender, every third of a lease. Index: lease_pkey. Locks: lease rows.
WITH mine AS (
    SELECT l.mailbox_id
    FROM unnest(%(mailboxes)s::bigint[], %(fences)s::bigint[]) AS m (mailbox_id, fence)
    JOIN lease l ON l.mailbox_id = m.mailbox_id AND l.fence = m.fence
        AND l.sender_id = %(sender)s AND l.expires_at > clock_timestamp()
    ORDER BY l.mailbox_id
    FOR UPDATE OF l
)
UPDATE lease SET expires_at = clock_timestamp() + %(lease)s::interval
FROM mine WHERE lease.mailbox_id = mine.mailbox_id AND lease.sender_id = %(sender)s
RETURNING lease.mailbox_id, lease.fence, lease.expires_at, clock_timestamp() AS now

-- name: release_leases
-- Gives leases back, by fence; one that is no longer ours is left alone.
-- Callers: sender. Index: lease_pkey. Locks: lease rows.
UPDATE lease SET sender_id = NULL, expires_at = NULL
FROM unnest(%(mailboxes)s::bigint[], %(fences)s::bigint[]) AS mine (mailbox_id, fence)
WHERE lease.mailbox_id = mine.mailbox_id AND lease.fence = mine.fence AND lease.sender_id = %(sender)s

-- name: load_mailboxes
-- What a sender must know to submit for a mailbox.
-- Callers: sender, after a lease. Index: mailbox_pkey. Rows: the mailboxes leased.
SELECT b.id, b.address, b.display_name, b.signature, b.reply_to, b.smtp_host, b.smtp_port, b.smtp_security, b.auth,
       b.login, b.secret, b.pace_seconds, coalesce(nullif(b.ca_file, ''), p.ca_file) AS ca_file,
       d.name AS domain, p.id AS provider_id, p.dialect, p.max_connections, p.max_connections_per_mailbox, p.idle_seconds,
       p.sent_copy, i.id AS identity_id, i.name AS identity_name, i.legal_name, i.postal_address, i.contact_email, i.website,
       i.opt_out_base_url
FROM mailbox b
JOIN domain d ON d.id = b.domain_id
JOIN identity i ON i.id = d.identity_id
JOIN account a ON a.id = b.account_id
JOIN provider p ON p.id = a.provider_id
WHERE b.id = ANY(%(mailboxes)s)

-- name: load_variants
-- The wording of variants. Callers: sender. Index: variant_pkey.
SELECT v.id, v.subject, v.text, v.html, c.language
FROM variant v JOIN step s ON s.id = v.step_id JOIN campaign c ON c.id = s.campaign_id
WHERE v.id = ANY(%(variants)s)

-- name: peek_due
-- The letters of leased mailboxes due within `ahead`, with all that is needed to write them; nothing is locked.
-- Letters that waited longer than `late_after` are the planner's again: a backlog is paced, never flushed.
-- Callers: sender. Index: message_of_mailbox_due; message_never_twice for the thread. Rows: the micro-batch.
SELECT m.id, m.mailbox_id, m.variant_id, m.header_id, m.due_at, m.attempts, s.number AS step_number,
       c.id AS contact_id, c.address, c.digests[1] AS address_digest, c.domain, c.first_name, c.last_name, c.company,
       c.title, c.country, c.attributes, thread.header_ids, thread.subject AS thread_subject
FROM (
    SELECT first.*
    FROM unnest(%(mailboxes)s::bigint[]) AS mine (mailbox_id)
    JOIN lease l ON l.mailbox_id = mine.mailbox_id
        AND (l.next_at IS NULL OR l.next_at <= clock_timestamp() + %(ahead)s::interval)
    CROSS JOIN LATERAL (
        SELECT *, row_number() OVER (ORDER BY due_at) AS turn FROM message
        WHERE mailbox_id = mine.mailbox_id AND state = 'queued'
          AND due_at <= clock_timestamp() + %(ahead)s::interval
          AND due_at > clock_timestamp() - %(late_after)s::interval
        ORDER BY due_at
        LIMIT %(per_mailbox)s
    ) AS first
    ORDER BY first.due_at, first.turn
    LIMIT %(batch)s
) AS m
JOIN contact c ON c.id = m.contact_id
JOIN step s ON s.id = m.step_id
LEFT JOIN LATERAL (
    SELECT array_agg(t.header_id ORDER BY ts.number) AS header_ids,
           (array_agg(t.subject ORDER BY ts.number))[1] AS subject
    FROM message t JOIN step ts ON ts.id = t.step_id
    WHERE t.enrollment_id = m.enrollment_id AND t.state = 'accepted' AND ts.number < s.number
) AS thread ON s.number > 1
ORDER BY m.due_at, m.turn

-- name: lock_due
-- Locks what is to be reserved: the leases by fence, and the letters if they are still due in that mailbox.
-- Callers: reserve. Index: message_pkey, lease_pkey, recipient_domain_pkey. Rows: the micro-batch. Locks: lease, message
-- and contact rows.
SELECT m.id, m.mailbox_id, m.due_at, m.attempts, greatest(m.due_at, l.next_at) AS start_at, b.pace_seconds,
       b.domain_id, b.account_id, a.provider_id, d.identity_id, m.campaign_id, m.contact_id,
       c.domain AS recipient_domain, nullif(r.provider, '') AS recipient_provider
FROM unnest(%(messages)s::bigint[], %(mailboxes)s::bigint[], %(fences)s::bigint[]) AS want (id, mailbox_id, fence)
JOIN message m ON m.id = want.id AND m.mailbox_id = want.mailbox_id AND m.state = 'queued'
JOIN lease l ON l.mailbox_id = want.mailbox_id AND l.fence = want.fence
    AND l.sender_id = %(sender)s AND l.expires_at > clock_timestamp()
JOIN mailbox b ON b.id = m.mailbox_id
JOIN domain d ON d.id = b.domain_id
JOIN account a ON a.id = b.account_id
JOIN contact c ON c.id = m.contact_id
LEFT JOIN recipient_domain r ON r.name = c.domain
WHERE m.due_at <= clock_timestamp() + %(ahead)s::interval AND m.due_at > clock_timestamp() - %(late_after)s::interval
  AND (l.next_at IS NULL OR l.next_at <= clock_timestamp() + %(ahead)s::interval)
ORDER BY m.mailbox_id, m.due_at, m.id
FOR NO KEY UPDATE OF l, m, c

-- name: missing_usage
-- Limits that meet a scope for the first time. `is_young`: the limit is younger than its window, so that letters may have
-- left in it which it never counted. `counts_from`: what left before it is not its to count: a scope on trial starts anew.
-- Callers: reserve. Index: sending_limit_unique, usage_pkey.
SELECT l.id AS limit_id, t.key AS scope_key, l.scope_kind, l.maximum, l.window_kind, l.window_seconds, l.window_zone,
       l.created_at > clock_timestamp() - make_interval(secs => greatest(l.window_seconds, 86400)) AS is_young,
       CASE WHEN l.source = 'half_open' THEN l.created_at END AS counts_from
FROM unnest(%(kinds)s::text[], %(keys)s::text[]) AS t (kind, key)
JOIN sending_limit l ON l.scope_kind = t.kind AND (l.scope_key IS NULL OR l.scope_key = t.key)
WHERE NOT EXISTS (SELECT 1 FROM usage u WHERE u.limit_id = l.id AND u.scope_key = t.key)
ORDER BY l.id, t.key

-- name: recent_attempts
-- What left, or may have left, since a moment, by scope: what a young limit starts from.
-- Callers: reserve, while limits are young. Index: attempt_reserved. Rows: the letters of the window.
SELECT t.kind AS scope_kind, t.key AS scope_key, a.reserved_at
FROM attempt a
JOIN message m ON m.id = a.message_id
JOIN mailbox b ON b.id = a.mailbox_id
JOIN domain d ON d.id = b.domain_id
JOIN account c ON c.id = b.account_id
JOIN contact p ON p.id = m.contact_id
JOIN sender s ON s.id = a.sender_id
LEFT JOIN recipient_domain r ON r.name = p.domain
CROSS JOIN LATERAL (VALUES
    ('mailbox', b.id::text), ('domain', b.domain_id::text), ('account', b.account_id::text),
    ('provider', c.provider_id::text), ('identity', d.identity_id::text), ('campaign', m.campaign_id::text),
    ('recipient_domain', p.domain), ('recipient_provider', r.provider), ('sender_host', s.host),
    ('fleet', 'fleet')) AS t (kind, key)
WHERE a.reserved_at > %(since)s AND a.outcome IS DISTINCT FROM 'unreached'
  AND (t.kind, t.key) IN (SELECT * FROM unnest(%(kinds)s::text[], %(keys)s::text[]))

-- name: make_usage
-- Rows of usage for limits that meet a scope for the first time. A young limit may start beyond its maximum.
-- Callers: reserve. Index: usage_pkey.
INSERT INTO usage (limit_id, scope_key, maximum, head, counts, used)
SELECT n.limit_id, n.scope_key, greatest(n.maximum, n.used), n.head, n.counts::integer[], n.used
FROM unnest(%(limits)s::bigint[], %(keys)s::text[], %(maxima)s::integer[], %(heads)s::bigint[], %(counts)s::text[],
            %(used)s::integer[]) AS n (limit_id, scope_key, maximum, head, counts, used)
ORDER BY n.limit_id, n.scope_key
ON CONFLICT DO NOTHING

-- name: lock_usage
-- The usage of every limit on every scope touched, locked in one fixed order, so that senders never wait in a circle.
-- Callers: reserve. Index: sending_limit_unique, usage_pkey. Rows: limits x scopes of the batch. Locks: usage rows.
SELECT u.limit_id, u.scope_key, u.head, u.counts, l.scope_kind, l.maximum, l.window_kind, l.window_seconds,
       l.window_zone, l.source
FROM unnest(%(kinds)s::text[], %(keys)s::text[]) AS t (kind, key)
JOIN sending_limit l ON l.scope_kind = t.kind AND (l.scope_key IS NULL OR l.scope_key = t.key)
JOIN usage u ON u.limit_id = l.id AND u.scope_key = t.key
ORDER BY u.limit_id, u.scope_key
FOR UPDATE OF u

-- name: gate
-- The last gate: which of these letters may not leave, and why. Read after every lock, so nothing committed before the
-- reservation is missed. A letter that may leave is not in the answer.
-- Callers: reserve, recall. Index: suppression_pkey, hold_standing, recipient_domain_pkey. Rows: the micro-batch.
SELECT m.id, m.state AS message_state, m.attempts, h.id AS hold_id, h.until,
       CASE WHEN s.digest IS NOT NULL THEN 'suppressed'
            WHEN e.state <> 'active' THEN 'ended'
            WHEN g.state <> 'running' THEN 'campaign_' || g.state
            WHEN e.paused_until > clock_timestamp() THEN 'paused'
            WHEN c.lawful_basis = 'none' THEN 'no_lawful_basis'
            WHEN c.mailbox_id <> m.mailbox_id THEN 'other_mailbox'
            WHEN b.retired_at IS NOT NULL THEN 'mailbox_retired'
            ELSE 'held' END AS code,
       CASE WHEN s.digest IS NOT NULL THEN 'suppressed: ' || s.reason
            WHEN e.state <> 'active' THEN e.reason
            WHEN g.state <> 'running' THEN 'the campaign is ' || g.state
            WHEN e.paused_until > clock_timestamp() THEN e.reason
            WHEN c.lawful_basis = 'none' THEN 'the contact has no lawful basis'
            WHEN c.mailbox_id <> m.mailbox_id THEN 'another mailbox writes to this contact'
            WHEN b.retired_at IS NOT NULL THEN 'the mailbox is retired'
            ELSE h.scope_kind || ' held: ' || h.reason END AS reason
FROM unnest(%(messages)s::bigint[]) AS want (id)
JOIN message m ON m.id = want.id
JOIN enrollment e ON e.id = m.enrollment_id
JOIN campaign g ON g.id = m.campaign_id
JOIN contact c ON c.id = m.contact_id
JOIN mailbox b ON b.id = m.mailbox_id
JOIN domain d ON d.id = b.domain_id
JOIN account a ON a.id = b.account_id
LEFT JOIN recipient_domain r ON r.name = c.domain
LEFT JOIN LATERAL (SELECT digest, reason FROM suppression WHERE digest = ANY(c.digests) LIMIT 1) AS s ON true
LEFT JOIN LATERAL (
    SELECT id, scope_kind, reason, until FROM hold
    WHERE lifted_at IS NULL AND (until IS NULL OR until > clock_timestamp())
      AND (scope_kind, scope_key) IN (
          ('mailbox', m.mailbox_id::text), ('domain', b.domain_id::text), ('account', b.account_id::text),
          ('provider', a.provider_id::text), ('identity', d.identity_id::text), ('campaign', m.campaign_id::text),
          ('recipient_domain', c.domain), ('recipient_provider', nullif(r.provider, '')), ('sender_host', %(host)s),
          ('fleet', 'fleet'))
    ORDER BY until DESC NULLS FIRST LIMIT 1
) AS h ON true
WHERE s.digest IS NOT NULL OR e.state <> 'active' OR g.state <> 'running' OR c.lawful_basis = 'none'
   OR c.mailbox_id <> m.mailbox_id OR b.retired_at IS NOT NULL OR e.paused_until > clock_timestamp() OR h.id IS NOT NULL

-- name: reserve_usage
-- Writes usage as computed under its lock, if the limit as it stands now allows it; usage_never_over has the last word.
-- Callers: reserve, which takes any row that was not written for a broken promise. Index: usage_pkey.
UPDATE usage SET head = n.head, counts = n.counts::integer[], used = n.used, maximum = l.maximum
FROM unnest(%(limits)s::bigint[], %(keys)s::text[], %(heads)s::bigint[], %(counts)s::text[], %(used)s::integer[])
    AS n (limit_id, scope_key, head, counts, used)
JOIN sending_limit l ON l.id = n.limit_id
WHERE usage.limit_id = n.limit_id AND usage.scope_key = n.scope_key AND n.used <= l.maximum

-- name: return_usage
-- Writes usage from which something was given back. Callers: settle. Index: usage_pkey.
UPDATE usage SET counts = n.counts::integer[], used = n.used
FROM unnest(%(limits)s::bigint[], %(keys)s::text[], %(counts)s::text[], %(used)s::integer[])
    AS n (limit_id, scope_key, counts, used)
WHERE usage.limit_id = n.limit_id AND usage.scope_key = n.scope_key AND n.used <= usage.used

-- name: write_reservation
-- Law 1 in one statement: the messages go to `submitting`, each with an attempt; the contact keeps this mailbox for
-- life; the mailbox's pace goes on. A message that is no longer queued changes nothing and is not in the answer.
-- Callers: reserve. Index: message_pkey, attempt_never_twice. Rows: the micro-batch.
WITH want AS (
    SELECT * FROM unnest(%(messages)s::bigint[], %(fences)s::bigint[], %(subjects)s::text[], %(limit_ids)s::text[],
                         %(limit_keys)s::text[]) AS w (id, fence, subject, limit_ids, limit_keys)
), moved AS (
    UPDATE message SET state = 'submitting', attempts = attempts + 1, subject = want.subject, reason_code = '', reason = ''
    FROM want WHERE message.id = want.id AND message.state = 'queued'
    RETURNING message.id, message.mailbox_id, message.contact_id, message.enrollment_id, message.attempts,
              want.fence, want.limit_ids, want.limit_keys
), kept AS (
    UPDATE contact SET mailbox_id = moved.mailbox_id
    FROM moved WHERE contact.id = moved.contact_id AND contact.mailbox_id IS NULL
), sticky AS (
    UPDATE enrollment SET mailbox_id = moved.mailbox_id, reason_code = '', reason = ''
    FROM moved WHERE enrollment.id = moved.enrollment_id AND enrollment.mailbox_id IS DISTINCT FROM moved.mailbox_id
), paced AS (
    UPDATE lease SET next_at = n.next_at
    FROM unnest(%(mailboxes)s::bigint[], %(next_ats)s::timestamptz[]) AS n (mailbox_id, next_at)
    WHERE lease.mailbox_id = n.mailbox_id
)
INSERT INTO attempt (message_id, number, mailbox_id, sender_id, fence, reserved_at, limit_ids, limit_keys)
SELECT id, attempts, mailbox_id, %(sender)s, fence, %(now)s, limit_ids::bigint[], limit_keys::text[] FROM moved
RETURNING id, message_id, 1 + (SELECT count(*) FROM attempt a WHERE a.message_id = attempt.message_id
                               AND a.outcome <> 'unreached') AS tries

-- name: hand_back
-- Letters that may not leave now go back to the planner with the reason; those that may never leave end here.
-- Callers: reserve, sender. Index: message_pkey. Rows: those refused.
WITH want AS (
    SELECT * FROM unnest(%(messages)s::bigint[], %(codes)s::text[], %(reasons)s::text[], %(ends)s::boolean[])
        AS w (id, code, reason, ends)
), moved AS (
    UPDATE message SET due_at = NULL, reason_code = want.code, reason = want.reason,
        state = CASE WHEN want.ends THEN 'cancelled' ELSE 'queued' END,
        settled_at = CASE WHEN want.ends THEN clock_timestamp() END
    FROM want WHERE message.id = want.id AND message.state = 'queued'
    RETURNING message.id, message.enrollment_id, want.code, want.reason, want.ends
)
UPDATE enrollment e
SET state = CASE WHEN moved.ends THEN 'stopped' ELSE e.state END,
    next_at = CASE WHEN moved.ends THEN NULL ELSE clock_timestamp() END,
    reason_code = moved.code, reason = moved.reason, reason_at = clock_timestamp()
FROM moved WHERE e.id = moved.enrollment_id AND e.state = 'active'

-- name: settle
-- Outcomes become facts, in one statement: 1. attempts, 2. their messages, 3. the enrollments, 4. pace, 5. ramp. A settled
-- attempt is left alone (a journal may be read twice). An ambiguous one takes a late fact: any, if only its lease had run
-- out; else an answer. So does one that a person called not sent, when it was accepted and has not left again.
-- Callers: sender, recovery. Index: attempt_pkey, message_pkey, enrollment_pkey, step_number_unique. Rows: the batch.
WITH r AS (
    SELECT * FROM jsonb_to_recordset(%(results)s::jsonb) AS r (
        attempt_id bigint, outcome text, state text, stage text, code integer, enhanced text, reply text,
        reply_class text, reply_scope text, rule text, reason_code text, reason text, retry_seconds double precision,
        began_at timestamptz)
), done AS (
    UPDATE attempt a SET outcome = r.outcome, settled_at = clock_timestamp(), stage = r.stage, code = r.code,
        enhanced = r.enhanced, reply = r.reply, reply_class = r.reply_class,
        reply_scope = coalesce(r.reply_scope, ''), rule = r.rule, began_at = r.began_at
    FROM r WHERE a.id = r.attempt_id
      AND (a.outcome IS NULL
           OR (a.outcome = 'ambiguous' AND (a.stage = 'lease' OR r.outcome IN ('accepted', 'rejected')))
           OR (a.outcome = 'deferred' AND a.stage = 'resolved' AND r.outcome = 'accepted'
               AND EXISTS (SELECT 1 FROM message m WHERE m.id = a.message_id AND m.state = 'queued')))
    RETURNING a.id, a.message_id, a.mailbox_id, a.reserved_at, a.limit_ids, a.limit_keys, r.outcome, r.state,
              r.reason_code, r.reason, r.retry_seconds
), moved AS (
    UPDATE message m SET state = done.state, reason_code = done.reason_code, reason = done.reason,
        due_at = CASE WHEN done.state = 'queued' THEN NULL ELSE m.due_at END,
        settled_at = CASE WHEN done.state IN ('accepted', 'rejected', 'cancelled') THEN clock_timestamp() END
    FROM done WHERE m.id = done.message_id
      AND (m.state IN ('submitting', 'ambiguous') OR (m.state = 'queued' AND done.state = 'accepted'))
    RETURNING m.id, m.enrollment_id, m.contact_id, m.campaign_id, m.step_id, m.state, done.outcome, done.reason_code,
              done.reason, done.retry_seconds
), followed AS (
    UPDATE enrollment e SET
        next_step = CASE WHEN moved.state = 'accepted' THEN s.number + 1 ELSE e.next_step END,
        next_at = CASE WHEN moved.state = 'accepted' THEN clock_timestamp() + n.wait
                       WHEN moved.state = 'queued'
                       THEN clock_timestamp() + make_interval(secs => coalesce(moved.retry_seconds, 0)) END,
        state = CASE WHEN moved.state = 'accepted' AND n.id IS NULL THEN 'finished'
                     WHEN moved.state IN ('rejected', 'cancelled') THEN 'stopped' ELSE e.state END,
        reason_code = CASE WHEN moved.state = 'accepted' AND n.id IS NULL THEN 'all_steps_sent'
                           ELSE moved.reason_code END,
        reason = CASE WHEN moved.state = 'accepted' AND n.id IS NULL THEN 'every step was accepted'
                      ELSE moved.reason END,
        reason_at = clock_timestamp()
    FROM moved JOIN step s ON s.id = moved.step_id
    LEFT JOIN step n ON n.campaign_id = moved.campaign_id AND n.number = s.number + 1
    WHERE e.id = moved.enrollment_id AND e.state = 'active'
), paced AS (
    UPDATE lease l SET next_at = greatest(l.next_at, clock_timestamp() + make_interval(secs => b.pace_seconds))
    FROM (SELECT DISTINCT mailbox_id FROM done WHERE outcome <> 'unreached') AS t JOIN mailbox b ON b.id = t.mailbox_id
    WHERE l.mailbox_id = t.mailbox_id
), ramped AS (
    UPDATE ramp SET sending_days = next_days, last_on = (clock_timestamp() AT TIME ZONE 'UTC')::date
    WHERE mailbox_id IN (SELECT mailbox_id FROM done WHERE outcome <> 'unreached')
      AND last_on IS DISTINCT FROM (clock_timestamp() AT TIME ZONE 'UTC')::date
)
SELECT done.id, done.message_id, done.mailbox_id, done.reserved_at, done.limit_ids, done.limit_keys, done.outcome,
       moved.contact_id, moved.state
FROM done LEFT JOIN moved ON moved.id = done.message_id

-- name: lock_returned_usage
-- Usage that unreached attempts give back, in the fixed order. Callers: settle. Index: usage_pkey. Locks: usage rows.
SELECT u.limit_id, u.scope_key, u.head, u.counts, l.window_kind, l.window_seconds, l.window_zone
FROM (SELECT DISTINCT * FROM unnest(%(limits)s::bigint[], %(keys)s::text[]) AS t (limit_id, scope_key)) AS t
JOIN usage u ON u.limit_id = t.limit_id AND u.scope_key = t.scope_key
JOIN sending_limit l ON l.id = u.limit_id
ORDER BY u.limit_id, u.scope_key
FOR UPDATE OF u

-- name: lock_contacts
-- Callers: settle, before `unstick`: what is decided there sees every reservation committed. Index: contact_pkey.
SELECT id FROM contact WHERE id = ANY(%(contacts)s) ORDER BY id FOR NO KEY UPDATE

-- name: unstick
-- A contact to whom nothing ever left from its mailbox is free to be written to from another.
-- Callers: settle, for unreached attempts. Index: contact_pkey, message by contact, attempt_number_unique.
WITH freed AS (
    UPDATE contact c SET mailbox_id = NULL
    WHERE c.id = ANY(%(contacts)s) AND NOT EXISTS (
        SELECT 1 FROM message m JOIN attempt a ON a.message_id = m.id
        WHERE m.contact_id = c.id AND (a.outcome IS NULL OR a.outcome <> 'unreached'))
    RETURNING c.id
)
UPDATE enrollment e SET mailbox_id = NULL FROM freed WHERE e.contact_id = freed.id

-- name: suppress
-- A standing ban; one that stands already is left as it is.
-- Callers: stops, settle. Index: suppression_pkey.
INSERT INTO suppression (digest, kind, value, reason, source, evidence, created_at)
SELECT b.*, %(evidence)s::jsonb, coalesce(%(at)s::timestamptz, clock_timestamp())
FROM unnest(%(digests)s::bytea[], %(kinds)s::text[], %(values)s::text[], %(reasons)s::text[], %(sources)s::text[]) AS b
ON CONFLICT DO NOTHING

-- name: stop_suppressed
-- Ends what a ban forbids: active enrollments and their queued letters. Letters in a sender's hand are recalled by it.
-- Callers: stops, settle. Index: contact_address_unique or contact_domain, enrollment by contact, message_never_twice.
WITH banned AS (
    SELECT id FROM contact WHERE address_key = ANY(%(addresses)s::text[])
    UNION
    SELECT id FROM contact WHERE domain = ANY(%(domains)s::text[])
    UNION
    SELECT id FROM contact WHERE domain LIKE ANY(%(subdomains)s::text[])
), ended AS (
    UPDATE enrollment e SET state = 'stopped', next_at = NULL, reason_code = 'suppressed', reason = %(reason)s,
        reason_at = clock_timestamp()
    FROM banned WHERE e.contact_id = banned.id AND e.state = 'active'
    RETURNING e.id
), cancelled AS (
    UPDATE message m SET state = 'cancelled', settled_at = clock_timestamp(), reason_code = 'suppressed',
        reason = %(reason)s
    FROM ended WHERE m.enrollment_id = ended.id AND m.state = 'queued'
    RETURNING m.id
)
SELECT (SELECT count(*) FROM ended) AS enrollments, (SELECT count(*) FROM cancelled) AS messages

-- name: place_hold
-- A hold, unless one of its family (a person's: of none) that lasts as long (to a twentieth) stands on the scope already.
-- Returns nothing then. Callers: stops, settle. Index: hold_standing.
INSERT INTO hold (scope_kind, scope_key, reason, evidence, set_by, family, until)
SELECT %(scope_kind)s, %(scope_key)s, %(reason)s, %(evidence)s, %(set_by)s, %(family)s,
       clock_timestamp() + %(length)s::interval
WHERE NOT EXISTS (
    SELECT 1 FROM hold WHERE lifted_at IS NULL AND scope_kind = %(scope_kind)s AND scope_key = %(scope_key)s
      AND family IS NOT DISTINCT FROM %(family)s::text
      AND (until IS NULL OR until >= clock_timestamp() + %(length)s::interval * 0.95))
RETURNING id

-- name: lift_hold
-- Callers: stops. Index: hold_standing. Rows: the holds standing on a scope.
UPDATE hold SET lifted_at = clock_timestamp(), lifted_by = %(lifted_by)s
WHERE lifted_at IS NULL AND scope_kind = %(scope_kind)s AND scope_key = %(scope_key)s
  AND (until IS NULL OR until > clock_timestamp())
RETURNING id

-- name: scopes_of_mailbox
-- Callers: settle, to place a hold where a reply says. Index: mailbox_pkey.
SELECT b.id AS mailbox, b.domain_id AS domain, b.account_id AS account, a.provider_id AS provider
FROM mailbox b JOIN account a ON a.id = b.account_id WHERE b.id = %(mailbox)s

-- name: register_sender
INSERT INTO sender (host, pid, journal) VALUES (%(host)s, %(pid)s, %(journal)s) RETURNING id, clock_timestamp() AS now

-- name: sender_seen
-- Says that we live, and hears how many do. Callers: sender, with each renewal.
WITH seen AS (UPDATE sender SET seen_at = clock_timestamp() WHERE id = %(sender)s)
SELECT count(*) AS alive FROM sender
WHERE stopped_at IS NULL AND seen_at > clock_timestamp() - %(lease)s::interval AND id <> %(sender)s

-- name: sender_stopped
UPDATE sender SET stopped_at = clock_timestamp(), seen_at = clock_timestamp() WHERE id = %(sender)s

-- name: attempts_of_journal
-- What earlier senders left unsettled with this journal: every one of them is dead, or we could not hold the journal.
-- Of the ambiguous only those that a sweep made so (stage `lease`): what a journal called ambiguous stays it.
-- Callers: recovery. Index: attempt_running, attempt_ambiguous. Rows: in flight at a crash.
SELECT a.id, 1 + (SELECT count(*) FROM attempt t WHERE t.message_id = a.message_id AND t.number < a.number
                  AND t.outcome <> 'unreached') AS tries
FROM (
    SELECT r.* FROM sender s JOIN attempt r ON r.sender_id = s.id
    WHERE s.journal = %(journal)s AND s.id <> %(sender)s AND r.outcome IS NULL
    UNION ALL
    SELECT r.* FROM attempt r JOIN sender s ON s.id = r.sender_id
    WHERE s.journal = %(journal)s AND s.id <> %(sender)s AND r.outcome = 'ambiguous' AND r.stage = 'lease'
    UNION ALL
    SELECT r.* FROM attempt r JOIN sender s ON s.id = r.sender_id
    WHERE r.id = ANY(%(known)s::bigint[]) AND s.journal = %(journal)s AND r.outcome = 'deferred' AND r.stage = 'resolved'
) AS a

-- name: open_attempts
-- What the database holds as ours and unsettled, swept or not. Callers: sender: a reservation whose commit it never heard
-- of was never begun. Index: attempt_running, attempt_ambiguous.
SELECT id, message_id, number FROM attempt
WHERE sender_id = %(sender)s AND (outcome IS NULL OR (outcome = 'ambiguous' AND stage = 'lease'))

-- name: release_dead
-- Leases of earlier senders of this journal: they are dead, their mailboxes are free at once. The pace counts from now.
-- Callers: recovery, after settlement. Index: lease_of_sender.
UPDATE lease l SET sender_id = NULL, expires_at = NULL,
    next_at = greatest(l.next_at, clock_timestamp() + make_interval(secs => b.pace_seconds))
FROM sender s, mailbox b
WHERE l.sender_id = s.id AND s.journal = %(journal)s AND s.id <> %(sender)s AND b.id = l.mailbox_id

-- name: sweep_expired
-- Attempts whose lease ran out without a word from their sender: nobody here can know, they are ambiguous. Their journal
-- may still come back with the fact.
-- Callers: sender, now and then. Index: attempt_running. Rows: in flight on hosts that are gone.
WITH lost AS (
    UPDATE attempt a SET outcome = 'ambiguous', settled_at = clock_timestamp(), stage = 'lease'
    WHERE a.outcome IS NULL AND NOT EXISTS (
        SELECT 1 FROM lease l WHERE l.mailbox_id = a.mailbox_id AND l.fence = a.fence
          AND l.sender_id = a.sender_id AND l.expires_at > clock_timestamp())
      AND a.reserved_at < clock_timestamp() - %(lease)s::interval
    RETURNING a.message_id
)
UPDATE message m SET state = 'ambiguous', reason_code = 'lease_expired',
    reason = 'its sender fell silent; whether it left is not known'
FROM lost WHERE m.id = lost.message_id AND m.state = 'submitting'

-- name: assume_accepted
-- Ambiguous letters past the deadline count as accepted: one letter too few is better than one twice.
-- Callers: planner. Index: attempt_ambiguous. Rows: few.
WITH late AS (
    UPDATE message m SET state = 'accepted', settled_at = clock_timestamp(), reason_code = 'assumed',
        reason = 'no evidence came before the deadline; counted as accepted'
    FROM attempt a
    WHERE a.outcome = 'ambiguous' AND a.settled_at < clock_timestamp() - %(deadline)s::interval
      AND m.id = a.message_id AND m.state = 'ambiguous'
    RETURNING m.enrollment_id, m.step_id, m.campaign_id
)
UPDATE enrollment e SET next_step = s.number + 1, next_at = clock_timestamp() + n.wait,
    state = CASE WHEN n.id IS NULL THEN 'finished' ELSE e.state END
FROM late JOIN step s ON s.id = late.step_id
LEFT JOIN step n ON n.campaign_id = late.campaign_id AND n.number = s.number + 1
WHERE e.id = late.enrollment_id AND e.state = 'active'
