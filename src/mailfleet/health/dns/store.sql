-- What the DNS checks read and write: the fleet's domains, and the standing of each.

-- name: domains
-- The fleet's domains with all that a check needs; of `names`, or (null) all of them, by name. Retired mailboxes count
-- for nothing. Callers: load_domains. Rows: the domains.
SELECT d.id, d.name, d.dkim_selectors, i.opt_out_base_url,
       coalesce(array_agg(DISTINCT p.preset) FILTER (WHERE b.id IS NOT NULL), '{}') AS presets,
       coalesce(array_agg(DISTINCT b.smtp_host) FILTER (WHERE b.id IS NOT NULL), '{}') AS smtp_hosts,
       d.dns_verdict, d.dns_checked_at, d.dns_tried_at, d.dns_failing_since, d.dns_listed,
       EXISTS (SELECT 1 FROM hold h WHERE h.scope_kind = 'domain' AND h.scope_key = d.id::text AND h.set_by = 'dns'
               AND h.lifted_at IS NULL AND (h.until IS NULL OR h.until > clock_timestamp())) AS is_held
FROM domain d
JOIN identity i ON i.id = d.identity_id
LEFT JOIN mailbox b ON b.domain_id = d.id AND b.retired_at IS NULL
LEFT JOIN account a ON a.id = b.account_id
LEFT JOIN provider p ON p.id = a.provider_id
WHERE %(names)s::text[] IS NULL OR d.name = ANY(%(names)s)
GROUP BY d.id, i.id
ORDER BY d.name

-- name: write_standing
-- Callers: settle_report. Index: domain_pkey, hold_standing. The findings of a check without a conclusion are kept too: a
-- person wants to know why there is none. `is_held`: by now; while the check asked around, a hold may have come or gone.
UPDATE domain d SET dns_verdict = %(verdict)s, dns_checked_at = %(checked_at)s, dns_tried_at = %(tried_at)s,
    dns_failing_since = %(failing_since)s, dns_listed = %(is_listed)s, dns_findings = %(findings)s::jsonb
WHERE id = %(domain)s AND (dns_tried_at IS NULL OR dns_tried_at <= %(tried_at)s)
RETURNING EXISTS (SELECT 1 FROM hold h WHERE h.scope_kind = 'domain' AND h.scope_key = d.id::text AND h.set_by = 'dns'
                  AND h.lifted_at IS NULL AND (h.until IS NULL OR h.until > clock_timestamp())) AS is_held

-- name: lift_own_hold
-- Only what these checks have set. Callers: settle_report. Index: hold_standing.
UPDATE hold SET lifted_at = clock_timestamp(), lifted_by = 'dns'
WHERE scope_kind = 'domain' AND scope_key = %(domain)s::text AND set_by = 'dns' AND lifted_at IS NULL

-- name: retell_own_hold
-- Callers: settle_report, while the domain stays held. Index: hold_standing.
UPDATE hold SET reason = %(reason)s
WHERE scope_kind = 'domain' AND scope_key = %(domain)s::text AND set_by = 'dns' AND lifted_at IS NULL
  AND reason <> %(reason)s

-- name: hold_domains
-- No trial follows: nothing has burnt there yet. Callers: hold_unchecked, inside a stop.
INSERT INTO hold (scope_kind, scope_key, reason, set_by, family, trial_over_at)
SELECT 'domain', id::text, %(reason)s, 'dns', 'dns', clock_timestamp() FROM unnest(%(domains)s::bigint[]) AS d (id)
