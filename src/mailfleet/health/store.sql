-- What a judgement reads and writes. One service judges at a time (an advisory lock of its session). Ids of scopes are
-- text in holds and limits.

-- name: signs
-- What changes when there is something new to count or to judge. Callers: read_signs, each tick.
-- Index: attempt_reserved, event_pkey, hold_pkey, hold_standing. Rows: the attempts of a quarter of an hour.
SELECT clock_timestamp() AS now,
       (SELECT max(settled_at) FROM attempt WHERE reserved_at > now() - interval '15 minutes') AS settled_at,
       (SELECT max(id) FROM event) AS event_id,
       (SELECT max(id) FROM hold) AS hold_id,
       (SELECT count(*) FROM hold WHERE lifted_at IS NULL AND (until IS NULL OR until > clock_timestamp())) AS holds,
       (SELECT row(count(*), max(failing_since))::text FROM reading WHERE failing_since IS NOT NULL) AS readings,
       (SELECT row(count(*), max(dns_failing_since))::text FROM domain WHERE dns_verdict = 'blocks') AS domains,
       (SELECT row(count(*), max(fault_at))::text FROM oauth_grant WHERE fault_kind IS NOT NULL) AS grants,
       (SELECT row(count(*), max(fault_at))::text FROM oauth_token WHERE fault_kind IS NOT NULL) AS tokens

-- name: begin_look
-- Every fact of a judgement is of one moment: what was committed before `now`. Callers: Looking.
SELECT clock_timestamp() AS now

-- name: places
-- Mailboxes, and those retired whose letters still count. `letters_a_day`: today's ramp. Index: sending_limit_unique.
-- Callers: Looking. Rows: the fleet.
SELECT b.id, b.domain_id, b.account_id, a.provider_id, d.identity_id, coalesce(r.halvings, 0) AS halvings,
       CASE WHEN b.retired_at IS NULL THEN least(b.daily_limit, l.maximum) ELSE 0 END AS letters_a_day
FROM mailbox b
JOIN domain d ON d.id = b.domain_id
JOIN account a ON a.id = b.account_id
LEFT JOIN ramp r ON r.mailbox_id = b.id
LEFT JOIN sending_limit l ON l.scope_kind = 'mailbox' AND l.scope_key = b.id::text AND l.source = 'ramp'
WHERE b.retired_at IS NULL OR b.retired_at > %(since)s

-- name: holds
-- Holds in force; that of a domain that was never checked belongs to no family: nothing burns there.
-- Callers: Looking. Index: hold_standing, domain_pkey.
SELECT h.id, h.scope_kind, h.scope_key, CASE WHEN d.dns_verdict = '' THEN NULL ELSE h.family END AS family, h.since,
       h.until, h.reason, h.set_by, h.cause_kind, h.cause_key, h.trial_over_at IS NULL AS has_trial
FROM hold h
LEFT JOIN domain d ON h.family = 'dns' AND h.scope_kind = 'domain' AND d.id::text = h.scope_key
WHERE h.lifted_at IS NULL AND (h.until IS NULL OR h.until > %(now)s)

-- name: trials
-- Holds of a family that ended, of each scope and cause the latest. One that a wider hold replaced did not end. Of trials
-- before `remembered` only the end is known still.
-- Callers: Looking. Index: hold_ended. Rows: the holds of two months.
SELECT DISTINCT ON (scope_kind, scope_key, family, cause_kind, cause_key)
       id, scope_kind, scope_key, family, LEAST(lifted_at, until) AS ended_at, strikes, trial_rung, trial_rung_at,
       trial_over_at IS NOT NULL OR LEAST(lifted_at, until) <= %(remembered)s AS is_over, cause_kind, cause_key,
       (evidence ->> 'letters_a_day')::integer AS letters_a_day
FROM hold
WHERE family IS NOT NULL AND absorbed_into_id IS NULL
  AND LEAST(lifted_at, until) > %(since)s AND LEAST(lifted_at, until) <= %(now)s
ORDER BY scope_kind, scope_key, family, cause_kind, cause_key, LEAST(lifted_at, until) DESC, id DESC

-- name: trial_letters
-- How many letters of each trial's rung were judged. As its limit counts them: each try that was reserved in it and not
-- given back, whatever came of it. Settled, and of before `until`: so that its answers had time to come.
-- Callers: Looking. Index: attempt_reserved. Rows: the attempts since the earliest rung began.
SELECT t.hold_id, count(*) AS letters
FROM attempt a
CROSS JOIN LATERAL unnest(a.limit_ids) AS l (id)
JOIN unnest(%(holds)s::bigint[], %(limits)s::bigint[], %(sinces)s::timestamptz[], %(untils)s::timestamptz[])
    AS t (hold_id, limit_id, since, until) ON t.limit_id = l.id AND a.reserved_at > t.since AND a.reserved_at <= t.until
WHERE a.reserved_at > %(since)s AND a.outcome <> 'unreached'
GROUP BY t.hold_id

-- name: cells
-- Letters of a family's window, and those that met with its event, each only from its own moment on: the latest end of a
-- hold on any of its scopes, exactly. A recipient provider with fewer than `pattern` events stands empty: it can explain
-- nothing, and there are thousands. So does what the family's rules do not ask for. Of letters that were blocked and whose
-- provider is not known, `receiver` is the contact's domain. No rows when nothing happened at all.
-- Callers: Looking, for each family. Index: message_pkey, contact_pkey, and a scan: the window is nearly all that is kept.
-- Rows: mailboxes x campaigns x lists x providers with events.
WITH met AS MATERIALIZED (
    SELECT message_id, recipient_provider FROM counted_letter
    WHERE at >= %(since)s AND CASE %(family)s::text WHEN 'bounces' THEN bounced WHEN 'policy' THEN blocked
                                                     ELSE complained END
), happened AS MATERIALIZED (
    SELECT recipient_provider, count(*) AS events FROM met GROUP BY recipient_provider
), nameless AS MATERIALIZED (
    SELECT met.message_id, c.domain FROM met
    JOIN message m ON m.id = met.message_id JOIN contact c ON c.id = m.contact_id
    WHERE met.recipient_provider = '' AND %(family)s::text = 'policy'
)
SELECT k.mailbox_id, CASE %(family)s::text WHEN 'complaints' THEN 0 ELSE k.campaign_id END AS campaign_id,
       CASE %(family)s::text WHEN 'bounces' THEN k.list_id ELSE 0 END AS list_id,
       coalesce(e.recipient_provider, '') AS recipient_provider, coalesce(n.domain, '') AS receiver, count(*) AS letters,
       count(*) FILTER (WHERE CASE %(family)s::text WHEN 'bounces' THEN k.bounced WHEN 'policy' THEN k.blocked
                                                     ELSE k.complained END) AS events
FROM counted_letter k
LEFT JOIN happened e ON e.recipient_provider = k.recipient_provider AND e.events >= %(pattern)s
    AND %(family)s::text <> 'complaints'
LEFT JOIN nameless n ON n.message_id = k.message_id
LEFT JOIN unnest(%(mailboxes)s::bigint[], %(mailbox_ends)s::timestamptz[]) AS m (id, at) ON m.id = k.mailbox_id
LEFT JOIN unnest(%(campaigns)s::bigint[], %(campaign_ends)s::timestamptz[]) AS c (id, at) ON c.id = k.campaign_id
LEFT JOIN unnest(%(recipients)s::text[], %(recipient_ends)s::timestamptz[]) AS r (name, at)
    ON r.name = k.recipient_provider
WHERE EXISTS (SELECT FROM happened) AND k.at >= %(since)s
  AND k.at >= greatest(%(since)s::timestamptz, m.at, c.at, r.at)
GROUP BY 1, 2, 3, 4, 5

-- name: attempted
-- The latest attempt of each mailbox from each host that says something of the server. `until`: when its sender will try
-- again, of a limit that a reply told of.
-- Callers: Looking. Index: attempt_reserved, hold_standing. Rows: the attempts of the window.
SELECT DISTINCT ON (a.mailbox_id, s.host) a.mailbox_id, s.host, a.reserved_at AS at, a.outcome, a.stage, a.code,
       a.reply_class, a.reply_scope, h.until
FROM attempt a
JOIN sender s ON s.id = a.sender_id
LEFT JOIN hold h ON h.lifted_at IS NULL AND h.scope_kind = 'mailbox' AND h.scope_key = a.mailbox_id::text
    AND h.family = 'rate_limit' AND h.set_by <> 'health' AND h.since > %(since)s
WHERE a.reserved_at > %(since)s
  AND (a.outcome = 'accepted' OR (a.outcome IN ('rejected', 'deferred') AND a.code IS NOT NULL)
       OR (a.outcome = 'unreached' AND a.stage <> ''))
ORDER BY a.mailbox_id, s.host, a.reserved_at DESC, a.id DESC, h.until DESC NULLS LAST

-- name: readings
-- Callers: Looking. Rows: the fleet.
SELECT r.mailbox_id, r.read_at, r.failing_since, r.failures, r.fault_kind, now() AS now
FROM reading r JOIN mailbox b ON b.id = r.mailbox_id
WHERE b.retired_at IS NULL

-- name: listening
-- Of each mailbox that people answer: letters up to its latest reply, and letters since, or since a hold for silence
-- ended; only letters old enough to be answered. Callers: Looking, once an hour.
-- Index: attempt_of_mailbox, or a scan. Rows: the letters of the span.
WITH reply AS (
    SELECT mailbox_id, count(DISTINCT message_id) AS replies, max(at) AS latest_at
    FROM event WHERE kind = 'reply' AND at > %(since)s
    GROUP BY mailbox_id HAVING count(DISTINCT message_id) >= %(least)s
)
SELECT r.mailbox_id, r.replies, count(*) FILTER (WHERE a.reserved_at <= r.latest_at) AS letters,
       count(*) FILTER (WHERE a.reserved_at > greatest(r.latest_at, e.at)) AS unanswered
FROM reply r
LEFT JOIN unnest(%(mailboxes)s::bigint[], %(mailbox_ends)s::timestamptz[]) AS e (id, at) ON e.id = r.mailbox_id
JOIN attempt a ON a.mailbox_id = r.mailbox_id AND a.outcome = 'accepted'
    AND a.reserved_at > %(since)s AND a.reserved_at <= %(old)s
GROUP BY r.mailbox_id, r.replies

-- name: trial_limits
-- Callers: Looking. Index: a scan of the limits.
SELECT id, scope_kind, scope_key, maximum, created_at FROM sending_limit WHERE source = 'half_open'

-- name: domain_troubles
-- Domains that their DNS checks hold or found wrong. Callers: Looking. Index: hold_standing. Rows: few.
SELECT d.id, d.name, d.identity_id, d.dns_verdict <> '' AS is_checked, h.since AS held_since, h.reason,
       d.dns_failing_since, d.dns_findings
FROM domain d
LEFT JOIN LATERAL (
    SELECT min(since) AS since, min(reason) AS reason FROM hold
    WHERE scope_kind = 'domain' AND scope_key = d.id::text AND family = 'dns' AND lifted_at IS NULL
      AND (until IS NULL OR until > clock_timestamp())
) AS h ON true
WHERE h.since IS NOT NULL OR d.dns_verdict = 'blocks'
ORDER BY d.id

-- name: incidents
-- Open ones, and those closed of late. Callers: Looking, Alerting. Index: incident_one_a_cause, or a scan of few.
SELECT id, family, scope_kind, scope_key, severity, opened_at, closed_at, letters_a_day, text, told, told_at,
       part_of_kind, part_of_key
FROM incident WHERE closed_at IS NULL OR closed_at >= %(since)s::timestamptz
ORDER BY opened_at, id

-- name: names
-- What a person calls these scopes. Callers: load_names. Index: the primary keys. Rows: the scopes given.
WITH s AS (SELECT * FROM unnest(%(kinds)s::text[], %(keys)s::text[]) AS s (kind, key)),
     n AS (SELECT kind, key, key::bigint AS id FROM s WHERE key ~ '^[0-9]{1,18}$')
SELECT n.kind, n.key, coalesce(b.address, d.name, p.name || '/' || a.name, v.name, i.name, g.name, c.name) AS name
FROM n
LEFT JOIN mailbox b ON n.kind = 'mailbox' AND b.id = n.id
LEFT JOIN domain d ON n.kind = 'domain' AND d.id = n.id
LEFT JOIN account a ON n.kind = 'account' AND a.id = n.id
LEFT JOIN provider p ON p.id = a.provider_id
LEFT JOIN provider v ON n.kind = 'provider' AND v.id = n.id
LEFT JOIN identity i ON n.kind = 'identity' AND i.id = n.id
LEFT JOIN campaign g ON n.kind = 'campaign' AND g.id = n.id
LEFT JOIN contact_list c ON n.kind = 'contact_list' AND c.id = n.id

-- name: place_holds
-- Holds as ordered, unless one of the family that lasts as long stands there, or one ended since the facts were read: then
-- somebody resumed the scope, and the next judgement sees it. They begin at `now`, from which their ends are counted.
-- Callers: write_verdict, inside a stop. Index: hold_standing, hold_ended. Rows: the orders.
INSERT INTO hold (scope_kind, scope_key, family, cause_kind, cause_key, reason, evidence, set_by, since, until, strikes)
SELECT o.scope_kind, o.scope_key, o.family, o.cause_kind, o.cause_key, o.reason, o.evidence::jsonb, 'health',
       %(now)s::timestamptz, o.until, o.strikes
FROM unnest(%(scope_kinds)s::text[], %(scope_keys)s::text[], %(families)s::text[], %(cause_kinds)s::text[],
            %(cause_keys)s::text[], %(reasons)s::text[], %(evidences)s::text[], %(untils)s::timestamptz[],
            %(strikes)s::integer[])
    AS o (scope_kind, scope_key, family, cause_kind, cause_key, reason, evidence, until, strikes)
WHERE NOT EXISTS (
    SELECT FROM hold h WHERE h.lifted_at IS NULL AND h.scope_kind = o.scope_kind AND h.scope_key = o.scope_key
      AND h.family = o.family AND (h.until IS NULL OR h.until >= o.until))
  AND NOT EXISTS (
    SELECT FROM hold h WHERE h.family IS NOT NULL AND LEAST(h.lifted_at, h.until) > %(now)s
      AND LEAST(h.lifted_at, h.until) <= clock_timestamp() AND h.absorbed_into_id IS NULL
      AND h.scope_kind = o.scope_kind AND h.scope_key = o.scope_key AND h.family = o.family)

-- name: absorb_holds
-- A hold ends in the wider one that covers it: only where that stands, and lasts as long.
-- Callers: write_verdict, inside a stop, after place_holds. Index: hold_pkey, hold_standing.
WITH replaced AS (
    SELECT h.id, w.id AS into_id
    FROM unnest(%(holds)s::bigint[], %(kinds)s::text[], %(keys)s::text[]) AS a (id, kind, key)
    JOIN hold h ON h.id = a.id AND h.lifted_at IS NULL
    CROSS JOIN LATERAL (
        SELECT w.id FROM hold w
        WHERE w.lifted_at IS NULL AND w.scope_kind = a.kind AND w.scope_key = a.key AND w.family = h.family
          AND w.id <> h.id AND (w.until IS NULL OR (w.until > clock_timestamp() AND w.until >= h.until))
        ORDER BY w.until DESC NULLS FIRST, w.id LIMIT 1
    ) AS w
)
UPDATE hold SET lifted_at = clock_timestamp(), lifted_by = 'health', absorbed_into_id = replaced.into_id
FROM replaced WHERE hold.id = replaced.id AND hold.lifted_at IS NULL

-- name: write_rungs
-- Where trials stand. Callers: write_verdict. Index: hold_pkey. Rows: those that moved.
UPDATE hold SET trial_rung = r.rung, trial_rung_at = r.rung_at, trial_over_at = CASE WHEN r.is_over THEN %(now)s::timestamptz END
FROM unnest(%(holds)s::bigint[], %(rungs)s::integer[], %(rung_ats)s::timestamptz[], %(overs)s::boolean[])
    AS r (id, rung, rung_at, is_over)
WHERE hold.id = r.id AND hold.trial_over_at IS NULL AND hold.trial_rung <= r.rung

-- name: forget_usage
-- Callers: write_verdict, inside a stop: no reservation is under way. Index: usage_pkey.
DELETE FROM usage WHERE limit_id = ANY(%(limits)s::bigint[])

-- name: remove_limits
-- Callers: write_verdict, inside a stop. Index: sending_limit_pkey.
DELETE FROM sending_limit WHERE id = ANY(%(limits)s::bigint[]) AND source = 'half_open'

-- name: write_limits
-- Limits of trials. Each counts what leaves from now on.
-- Callers: write_verdict, inside a stop. Index: sending_limit_unique.
INSERT INTO sending_limit (scope_kind, scope_key, window_kind, window_seconds, window_zone, maximum, source, created_at)
SELECT n.kind, n.key, 'rolling', 86400, 'UTC', n.maximum, 'half_open', clock_timestamp()
FROM unnest(%(kinds)s::text[], %(keys)s::text[], %(maxima)s::integer[]) AS n (kind, key, maximum)
ON CONFLICT (scope_kind, scope_key, window_kind, window_seconds, window_zone, source)
DO UPDATE SET maximum = EXCLUDED.maximum, created_at = EXCLUDED.created_at

-- name: change_limits
-- A reservation under way meets them as they are when its usage is written. Callers: write_verdict.
-- Index: sending_limit_pkey.
UPDATE sending_limit SET maximum = n.maximum
FROM unnest(%(limits)s::bigint[], %(maxima)s::integer[]) AS n (id, maximum)
WHERE sending_limit.id = n.id AND sending_limit.source = 'half_open'

-- name: write_halvings
-- How many stop rules halve each ramp now; the planner's next run works with it. Callers: write_verdict.
-- Index: ramp_pkey. Rows: those that changed.
UPDATE ramp SET halvings = n.halvings
FROM unnest(%(mailboxes)s::bigint[], %(halvings)s::integer[]) AS n (mailbox_id, halvings)
WHERE ramp.mailbox_id = n.mailbox_id

-- name: open_incidents
-- Callers: write_verdict. Index: incident_one_a_cause.
INSERT INTO incident (family, scope_kind, scope_key, severity, opened_at, letters_a_day, text)
SELECT * FROM unnest(%(families)s::text[], %(scope_kinds)s::text[], %(scope_keys)s::text[], %(severities)s::integer[],
                     %(opened_ats)s::timestamptz[], %(letters)s::integer[], %(texts)s::text[])
ON CONFLICT (family, scope_kind, scope_key) WHERE closed_at IS NULL DO NOTHING

-- name: update_incidents
-- What was told of them is written by who told it; here it is forgotten of one that is held anew.
-- Callers: write_verdict. Index: incident_pkey.
UPDATE incident SET severity = n.severity, letters_a_day = n.letters, text = n.text, closed_at = n.closed_at,
    part_of_kind = n.part_of_kind, part_of_key = n.part_of_key, told = CASE WHEN NOT n.is_news THEN told END
FROM unnest(%(ids)s::bigint[], %(severities)s::integer[], %(letters)s::integer[], %(texts)s::text[],
            %(closed_ats)s::timestamptz[], %(part_of_kinds)s::text[], %(part_of_keys)s::text[], %(news)s::boolean[])
    AS n (id, severity, letters, text, closed_at, part_of_kind, part_of_key, is_news)
WHERE incident.id = n.id

-- name: tell_incidents
-- Callers: Alerting, after a target took the notice. Index: incident_pkey.
UPDATE incident SET told = n.severity, told_at = clock_timestamp()
FROM unnest(%(ids)s::bigint[], %(severities)s::integer[]) AS n (id, severity)
WHERE incident.id = n.id AND (incident.told IS NULL OR incident.told < n.severity)
