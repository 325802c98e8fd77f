-- What decides whether a new domain asks for an acknowledgement. Callers: newcomers, for an import of mailboxes.

-- name: identities
-- With their domains; an identity without any has one row. Index: identity_name_key, domain by identity.
SELECT i.id, i.name, d.id AS domain_id, d.name AS domain
FROM identity i LEFT JOIN domain d ON d.identity_id = i.id WHERE i.name = ANY(%(identities)s)

-- name: domains_at_work
-- Those of the domains that have a mailbox already. Index: domain_name_key, mailbox by domain.
SELECT d.name FROM domain d WHERE d.name = ANY(%(domains)s) AND EXISTS (SELECT 1 FROM mailbox WHERE domain_id = d.id)

-- name: complaint_holds
-- Every stop for complaints that no wider one replaced, those past their trial too: the latest of a scope counts.
-- Rows: few.
SELECT id, scope_kind, scope_key, since, until, least(lifted_at, until) AS ended_at,
       lifted_at IS NULL AND (until IS NULL OR until > clock_timestamp()) AS is_standing, trial_over_at IS NOT NULL AS is_over
FROM hold WHERE family = 'complaints' AND absorbed_into_id IS NULL

-- name: record_acknowledgements
-- Added to what was acknowledged before: a list that nothing of ours ever shortens. Index: setting_pkey.
INSERT INTO setting (name, value)
SELECT 'domain_acknowledgements', jsonb_agg(jsonb_build_object('at', clock_timestamp(), 'by', %(by)s::text,
    'domain', a.domain, 'stopped', a.stopped, 'why', %(why)s::text))
FROM unnest(%(domains)s::text[], %(stopped)s::text[]) AS a (domain, stopped)
ON CONFLICT (name) DO UPDATE SET value = setting.value || EXCLUDED.value
