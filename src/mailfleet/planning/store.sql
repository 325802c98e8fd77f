-- What a planning run reads and writes. One planner runs at a time (an advisory lock of its session).

-- name: tidy
-- Letters that need a new plan go back: those whose moment passed, those of a held scope, those of a retired mailbox;
-- letters of ended enrollments end. A letter in a sender's hand is not touched.
-- Callers: plan. Index: message_due, hold_standing, recipient_domain_pkey. Rows: queued letters of the horizon.
WITH standing AS (
    SELECT scope_kind, scope_key, reason FROM hold
    WHERE lifted_at IS NULL AND (until IS NULL OR until > clock_timestamp())
), stale AS (
    SELECT m.id, m.enrollment_id, e.state <> 'active' AS ends,
           CASE WHEN e.state <> 'active' THEN e.reason_code WHEN g.state <> 'running' THEN 'campaign_' || g.state
                WHEN e.paused_until > clock_timestamp() THEN 'paused'
                WHEN b.retired_at IS NOT NULL THEN 'mailbox_retired'
                WHEN m.due_at <= clock_timestamp() - %(late_after)s::interval THEN 'late' ELSE 'hold' END AS code,
           CASE WHEN e.state <> 'active' THEN e.reason WHEN g.state <> 'running' THEN 'the campaign is ' || g.state
                WHEN e.paused_until > clock_timestamp() THEN e.reason
                WHEN b.retired_at IS NOT NULL THEN 'the mailbox is retired'
                WHEN m.due_at <= clock_timestamp() - %(late_after)s::interval THEN 'its moment passed; planned anew'
                ELSE h.scope_kind || ' held: ' || h.reason END AS reason
    FROM message m
    JOIN enrollment e ON e.id = m.enrollment_id
    JOIN campaign g ON g.id = m.campaign_id
    JOIN mailbox b ON b.id = m.mailbox_id
    JOIN domain d ON d.id = b.domain_id
    JOIN account a ON a.id = b.account_id
    JOIN contact c ON c.id = m.contact_id
    LEFT JOIN recipient_domain r ON r.name = c.domain
    LEFT JOIN LATERAL (
        SELECT scope_kind, reason FROM standing
        WHERE (scope_kind, scope_key) IN (
            ('mailbox', m.mailbox_id::text), ('domain', b.domain_id::text), ('account', b.account_id::text),
            ('provider', a.provider_id::text), ('identity', d.identity_id::text), ('campaign', m.campaign_id::text),
            ('recipient_domain', c.domain), ('recipient_provider', nullif(r.provider, '')), ('fleet', 'fleet'))
        LIMIT 1
    ) AS h ON true
    WHERE m.state = 'queued' AND (e.state <> 'active' OR (m.due_at IS NOT NULL AND (
        g.state <> 'running' OR b.retired_at IS NOT NULL OR h.reason IS NOT NULL
        OR e.paused_until > clock_timestamp() OR m.due_at <= clock_timestamp() - %(late_after)s::interval)))
    FOR UPDATE OF m SKIP LOCKED
), moved AS (
    UPDATE message SET due_at = NULL, reason_code = stale.code, reason = stale.reason,
        state = CASE WHEN stale.ends THEN 'cancelled' ELSE 'queued' END,
        settled_at = CASE WHEN stale.ends THEN clock_timestamp() END
    FROM stale WHERE message.id = stale.id AND message.state = 'queued'
    RETURNING stale.enrollment_id, stale.ends, stale.code, stale.reason
)
UPDATE enrollment SET next_at = clock_timestamp(), reason_code = moved.code, reason = moved.reason,
    reason_at = clock_timestamp()
FROM moved WHERE enrollment.id = moved.enrollment_id AND enrollment.state = 'active' AND NOT moved.ends

-- name: finish_campaigns
-- Callers: plan. Index: enrollment_ready does not serve it; campaigns are few, and the first active row answers.
UPDATE campaign g SET state = 'finished', reason = 'every enrollment ended'
WHERE g.state = 'running'
  AND NOT EXISTS (SELECT 1 FROM enrollment e WHERE e.campaign_id = g.id AND e.state = 'active')

-- name: mailboxes
-- Callers: plan. Rows: the fleet.
SELECT b.id, b.address, b.domain_id, b.account_id, a.provider_id, d.identity_id, b.pace_seconds, b.tags, b.daily_limit,
       l.next_at, d.name AS domain, a.name AS account, p.name AS provider, i.name AS identity,
       r.sending_days, r.next_days, r.last_on, r.halvings
FROM mailbox b
JOIN domain d ON d.id = b.domain_id
JOIN identity i ON i.id = d.identity_id
JOIN account a ON a.id = b.account_id
JOIN provider p ON p.id = a.provider_id
JOIN lease l ON l.mailbox_id = b.id
JOIN ramp r ON r.mailbox_id = b.id
WHERE b.retired_at IS NULL

-- name: queued
-- Callers: plan. Index: message_due, recipient_domain_pkey. Rows: the horizon.
SELECT m.mailbox_id, m.due_at, c.domain AS recipient_domain, coalesce(r.provider, '') AS recipient_provider, m.campaign_id
FROM message m JOIN contact c ON c.id = m.contact_id LEFT JOIN recipient_domain r ON r.name = c.domain
WHERE m.state = 'queued' AND m.due_at IS NOT NULL

-- name: limits
SELECT id, scope_kind, scope_key, window_kind, window_seconds, window_zone, maximum, source FROM sending_limit
WHERE scope_kind <> 'sender_host'

-- name: usages
-- Callers: plan. Rows: limits x scopes that were ever used.
SELECT u.limit_id, u.scope_key, u.head, u.counts FROM usage u

-- name: holds
-- Callers: plan. Index: hold_standing.
SELECT id, scope_kind, scope_key, reason, until FROM hold
WHERE lifted_at IS NULL AND (until IS NULL OR until > clock_timestamp())

-- name: campaigns
SELECT g.id, g.name, g.identity_id, CASE WHEN g.pool ? 'name' THEN p.rule ELSE g.pool END AS pool, g."window", g.zone, g.fallback_zone, g.priority,
       g.openings_share
FROM campaign g LEFT JOIN pool p ON p.name = g.pool ->> 'name'
WHERE g.state = 'running'

-- name: variants
SELECT s.campaign_id, s.number, s.id AS step_id, array_agg(v.id ORDER BY v.id) AS ids,
       array_agg(v.weight ORDER BY v.id) AS weights
FROM step s JOIN campaign g ON g.id = s.campaign_id JOIN variant v ON v.step_id = s.id
WHERE g.state = 'running' GROUP BY s.id

-- name: ready
-- Enrollments whose next letter is due to be planned, of each step the longest-waiting first.
-- Callers: plan. Index: enrollment_ready; message_never_twice. Rows: at most `batch` a step.
SELECT e.id, e.campaign_id, e.contact_id, e.next_at, e.next_step, c.domain AS recipient_domain,
       coalesce(r.provider, '') AS recipient_provider, c.time_zone, c.mailbox_id, m.variant_id
FROM step s
JOIN campaign g ON g.id = s.campaign_id AND g.state = 'running'
CROSS JOIN LATERAL (
    SELECT * FROM enrollment
    WHERE campaign_id = s.campaign_id AND next_step = s.number AND state = 'active' AND next_at <= clock_timestamp()
      AND (paused_until IS NULL OR paused_until <= clock_timestamp())
    ORDER BY next_at
    LIMIT %(batch)s
) AS e
JOIN contact c ON c.id = e.contact_id
LEFT JOIN recipient_domain r ON r.name = c.domain
LEFT JOIN message m ON m.enrollment_id = e.id AND m.step_id = s.id

-- name: write_slots
-- The plan becomes the queue. An enrollment that ended meanwhile, and a letter that is past planning, are left alone.
-- Callers: plan. Index: enrollment_pkey, message_never_twice. Rows: the slots.
WITH slot AS (
    SELECT * FROM unnest(%(enrollments)s::bigint[], %(steps)s::bigint[], %(mailboxes)s::bigint[], %(variants)s::bigint[],
                         %(header_ids)s::text[], %(due_ats)s::timestamptz[])
        AS s (enrollment_id, step_id, mailbox_id, variant_id, header_id, due_at)
), written AS (
    INSERT INTO message (enrollment_id, step_id, campaign_id, contact_id, mailbox_id, variant_id, header_id, due_at)
    SELECT e.id, slot.step_id, e.campaign_id, e.contact_id, slot.mailbox_id, slot.variant_id, slot.header_id, slot.due_at
    FROM slot JOIN enrollment e ON e.id = slot.enrollment_id AND e.state = 'active' AND e.next_at IS NOT NULL
        AND (e.paused_until IS NULL OR e.paused_until <= clock_timestamp())
    ON CONFLICT (enrollment_id, step_id) DO UPDATE SET
        due_at = EXCLUDED.due_at, mailbox_id = EXCLUDED.mailbox_id, reason_code = '', reason = '',
        header_id = CASE WHEN EXISTS (SELECT 1 FROM attempt a WHERE a.message_id = message.id
                                      AND a.outcome IS DISTINCT FROM 'unreached')
                         THEN message.header_id ELSE EXCLUDED.header_id END
    WHERE message.state = 'queued' AND message.due_at IS NULL
    RETURNING enrollment_id, due_at
)
UPDATE enrollment SET next_at = NULL, reason_at = clock_timestamp(),
    reason_code = CASE WHEN paused_until > clock_timestamp() THEN reason_code ELSE '' END,
    reason = CASE WHEN paused_until > clock_timestamp() THEN reason ELSE '' END
FROM written WHERE enrollment.id = written.enrollment_id AND enrollment.state = 'active'

-- name: write_reasons
-- Why an enrollment has no slot. It is looked at again at `retry_at`, and no later than
-- after `look_again`: what binds it may be lifted. One that was paused meanwhile keeps the reason of its pause.
-- Callers: plan. Index: enrollment_pkey. Rows: those without a slot.
UPDATE enrollment SET reason_code = r.code, reason = r.text, reason_at = clock_timestamp(),
    next_at = clock_timestamp() + least(coalesce(r.retry_at - clock_timestamp(), %(look_again)s::interval),
                                        %(look_again)s::interval)
FROM unnest(%(enrollments)s::bigint[], %(codes)s::text[], %(texts)s::text[], %(retry_ats)s::timestamptz[])
    AS r (enrollment_id, code, text, retry_at)
WHERE enrollment.id = r.enrollment_id AND enrollment.state = 'active' AND enrollment.next_at IS NOT NULL
  AND (enrollment.paused_until IS NULL OR enrollment.paused_until <= clock_timestamp())

-- name: write_mailbox_reasons
-- Callers: plan. Index: mailbox_reason_pkey. Rows: the fleet; only what changed is written.
INSERT INTO mailbox_reason (mailbox_id, code, text, binding, used, maximum, free_at)
SELECT * FROM unnest(%(mailboxes)s::bigint[], %(codes)s::text[], %(texts)s::text[], %(bindings)s::bigint[],
                     %(used)s::integer[], %(maxima)s::integer[], %(free_ats)s::timestamptz[])
ON CONFLICT (mailbox_id) DO UPDATE SET code = EXCLUDED.code, text = EXCLUDED.text, binding = EXCLUDED.binding,
    used = EXCLUDED.used, maximum = EXCLUDED.maximum, free_at = EXCLUDED.free_at, decided_at = clock_timestamp()
WHERE (mailbox_reason.code, mailbox_reason.text) IS DISTINCT FROM (EXCLUDED.code, EXCLUDED.text)

-- name: write_ramps
-- Today's maximum of each mailbox, as a limit row of source `ramp` that the reservation enforces like any other.
-- Callers: plan. Index: sending_limit_unique. Rows: the fleet; only what changed is written.
WITH today AS (
    SELECT * FROM unnest(%(mailboxes)s::bigint[], %(maxima)s::integer[], %(next_days)s::integer[])
        AS t (mailbox_id, maximum, next_days)
), grown AS (
    UPDATE ramp SET next_days = today.next_days FROM today
    WHERE ramp.mailbox_id = today.mailbox_id AND ramp.next_days <> today.next_days
)
INSERT INTO sending_limit (scope_kind, scope_key, window_kind, window_seconds, window_zone, maximum, source)
SELECT 'mailbox', mailbox_id::text, 'rolling', 86400, 'UTC', maximum, 'ramp' FROM today
ON CONFLICT (scope_kind, scope_key, window_kind, window_seconds, window_zone, source) DO UPDATE
SET maximum = EXCLUDED.maximum WHERE sending_limit.maximum <> EXCLUDED.maximum
