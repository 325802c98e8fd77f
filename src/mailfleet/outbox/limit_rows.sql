-- name: limits
-- Every limit; those that planner and presets set for single mailboxes only when asked for. Index: usage_pkey.
SELECT l.id, l.scope_kind, l.scope_key, l.window_kind, l.window_seconds, l.window_zone, l.maximum, l.source
FROM sending_limit l WHERE %(with_each)s
   OR NOT (l.scope_kind = 'mailbox' AND (l.source = 'ramp' OR l.source LIKE 'preset %%'))
ORDER BY l.scope_kind, l.scope_key NULLS FIRST, l.window_seconds

-- name: usages
SELECT limit_id, scope_key, head, counts FROM usage

-- name: names
-- What the keys of scopes stand for.
SELECT 'mailbox' AS kind, id::text AS key, address AS name FROM mailbox
UNION ALL SELECT 'domain', id::text, name FROM domain
UNION ALL SELECT 'account', a.id::text, p.name || '/' || a.name FROM account a JOIN provider p ON p.id = a.provider_id
UNION ALL SELECT 'provider', id::text, name FROM provider
UNION ALL SELECT 'identity', id::text, name FROM identity
UNION ALL SELECT 'campaign', id::text, name FROM campaign

-- name: change_limit
-- A reservation under way meets it as it is when usage is written. Index: sending_limit_unique.
UPDATE sending_limit SET maximum = %(maximum)s
WHERE scope_kind = %(scope_kind)s AND scope_key IS NOT DISTINCT FROM %(scope_key)s
  AND window_kind = %(window_kind)s AND window_seconds = %(window_seconds)s AND window_zone = %(window_zone)s
  AND source = %(source)s

-- name: make_limit
INSERT INTO sending_limit (scope_kind, scope_key, window_kind, window_seconds, window_zone, maximum, source)
VALUES (%(scope_kind)s, %(scope_key)s, %(window_kind)s, %(window_seconds)s, %(window_zone)s, %(maximum)s, %(source)s)
ON CONFLICT (scope_kind, scope_key, window_kind, window_seconds, window_zone, source) DO UPDATE
SET maximum = EXCLUDED.maximum

-- name: remove_limit
-- With what was used of it. Index: sending_limit_unique, usage_pkey.
WITH gone AS (
    SELECT id FROM sending_limit WHERE scope_kind = %(scope_kind)s AND scope_key IS NOT DISTINCT FROM %(scope_key)s
  AND window_kind = %(window_kind)s AND window_seconds = %(window_seconds)s AND window_zone = %(window_zone)s
  AND source = %(source)s FOR UPDATE
), forgotten AS (
    DELETE FROM usage WHERE limit_id IN (SELECT id FROM gone)
)
DELETE FROM sending_limit WHERE id IN (SELECT id FROM gone)
