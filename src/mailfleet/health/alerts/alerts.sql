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
-- The open ones, or all; the gravest first, then the latest. Index: incident_latest for all of them.
SELECT i.family, i.scope_kind, i.scope_key, i.severity, i.opened_at, i.closed_at, i.letters_a_day, i.text,
       CASE i.scope_kind
           WHEN 'contact_list' THEN (SELECT name FROM contact_list WHERE id::text = i.scope_key)
           WHEN 'mailbox' THEN (SELECT address FROM mailbox WHERE id::text = i.scope_key)
           WHEN 'domain' THEN (SELECT name FROM domain WHERE id::text = i.scope_key)
           WHEN 'account' THEN (SELECT p.name || '/' || a.name FROM account a JOIN provider p ON p.id = a.provider_id
                                WHERE a.id::text = i.scope_key)
           WHEN 'provider' THEN (SELECT name FROM provider WHERE id::text = i.scope_key)
           WHEN 'identity' THEN (SELECT name FROM identity WHERE id::text = i.scope_key)
           WHEN 'campaign' THEN (SELECT name FROM campaign WHERE id::text = i.scope_key)
           END AS scope_name
FROM incident i WHERE i.closed_at IS NULL OR %(with_closed)s
ORDER BY i.closed_at IS NOT NULL, i.severity DESC, i.opened_at DESC, i.id DESC

-- name: quiet_hours
SELECT value FROM setting WHERE name = 'quiet_hours'

-- name: set_quiet_hours
INSERT INTO setting (name, value) VALUES ('quiet_hours', %(hours)s::jsonb)
ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value

-- name: end_quiet_hours
DELETE FROM setting WHERE name = 'quiet_hours'
