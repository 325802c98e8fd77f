-- Targets of alerts, and incidents as a person reads them.

-- name: targets
SELECT name, url, created_at, fault_text, fault_at FROM alert_target ORDER BY name

-- name: add_target
-- Adds nothing when the name is taken. Index: alert_target_name_key.
INSERT INTO alert_target (name, url) VALUES (%(name)s, %(url)s) ON CONFLICT (name) DO NOTHING

-- name: remove_target
DELETE FROM alert_target WHERE name = %(name)s

-- name: write_faults
-- What became of a try: a fault stands until a notice went out. Index: alert_target_name_key.
UPDATE alert_target SET fault_text = t.fault, fault_at = CASE WHEN t.fault <> '' THEN clock_timestamp() END
FROM unnest(%(names)s::text[], %(faults)s::text[]) AS t (name, fault) WHERE alert_target.name = t.name

-- name: tried_lately
-- Whether a notice went out, or was tried in vain, within `gathering`. Callers: deliver. Rows: the incidents of a fleet.
SELECT EXISTS (SELECT 1 FROM incident WHERE told_at > clock_timestamp() - %(gathering)s::interval)
    OR EXISTS (SELECT 1 FROM alert_target WHERE fault_at > clock_timestamp() - %(gathering)s::interval) AS is_so

-- name: incidents
-- The open ones, or all; the gravest first, then the latest. `trial`: of one whose holds are all over, the letters a day
-- that their trials let out. Index: incident_latest for all of them; scans of holds and limits.
WITH own AS (
    SELECT family, coalesce(cause_kind, scope_kind) AS kind, coalesce(cause_key, scope_key) AS key, scope_kind, scope_key,
           lifted_at IS NULL AND (until IS NULL OR until > clock_timestamp()) AS stands
    FROM hold WHERE family IS NOT NULL AND absorbed_into_id IS NULL AND trial_over_at IS NULL
)
SELECT i.family, i.scope_kind, i.scope_key, i.severity, i.opened_at, i.closed_at, i.letters_a_day, i.text,
       i.part_of_kind, i.part_of_key, t.trial
FROM incident i
LEFT JOIN LATERAL (
    SELECT sum(l.maximum) AS trial FROM sending_limit l
    WHERE l.source = 'half_open' AND i.closed_at IS NULL
      AND (l.scope_kind, l.scope_key) IN (SELECT o.scope_kind, o.scope_key FROM own o
                                          WHERE (o.family, o.kind, o.key) = (i.family, i.scope_kind, i.scope_key))
      AND NOT EXISTS (SELECT FROM own o
                      WHERE o.stands AND (o.family, o.kind, o.key) = (i.family, i.scope_kind, i.scope_key))
) AS t ON true
WHERE i.closed_at IS NULL OR %(with_closed)s
ORDER BY i.closed_at IS NOT NULL, i.severity DESC, i.opened_at DESC, i.id DESC

-- name: quiet_hours
SELECT value FROM setting WHERE name = 'quiet_hours'

-- name: set_quiet_hours
INSERT INTO setting (name, value) VALUES ('quiet_hours', %(hours)s::jsonb)
ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value

-- name: end_quiet_hours
DELETE FROM setting WHERE name = 'quiet_hours'
