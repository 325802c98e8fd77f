-- The fleet as fleet.toml describes it. Every write runs inside `stops.stopping`, so that no reservation sees half of it
-- and no two of them meet. Limits of the sources `ramp`, `default` and `preset …` are written by Mailfleet, not by files.

-- name: identities
-- Callers: load_fleet. Rows: few.
SELECT name, legal_name, postal_address, contact_email, opt_out_base_url, website, country FROM identity ORDER BY id

-- name: providers
-- Callers: load_fleet. Rows: few.
SELECT name, preset, smtp_host, smtp_port, smtp_security, imap_host, imap_port, imap_security, ca_file, dialect,
       sent_copy, max_connections, max_connections_per_mailbox, idle_seconds, policy_acknowledgement
FROM provider ORDER BY id

-- name: accounts
-- Callers: load_fleet; the count says whether one may go. Rows: tens.
SELECT a.name, p.name AS provider, count(b.id) AS mailboxes
FROM account a JOIN provider p ON p.id = a.provider_id LEFT JOIN mailbox b ON b.account_id = a.id
GROUP BY a.id, p.name ORDER BY a.id

-- name: domains
-- Callers: load_fleet; the count says whether one may go. Rows: hundreds.
SELECT d.name, i.name AS identity, d.dkim_selectors, count(b.id) AS mailboxes
FROM domain d JOIN identity i ON i.id = d.identity_id LEFT JOIN mailbox b ON b.domain_id = d.id
GROUP BY d.id, i.name ORDER BY d.id

-- name: pools
-- Callers: load_fleet. Rows: few.
SELECT name, rule FROM pool ORDER BY id

-- name: campaigns
-- What campaigns name of the fleet. Callers: plan_fleet. Rows: the campaigns.
SELECT i.name AS identity, g.pool ->> 'name' AS pool FROM campaign g JOIN identity i ON i.id = g.identity_id

-- name: limits
-- The limits that a file can hold, their scope by name. Callers: load_fleet. Rows: few.
SELECT l.scope_kind, l.scope_key, l.window_kind, l.window_seconds, l.window_zone, l.maximum, l.source,
       CASE l.scope_kind
           WHEN 'mailbox' THEN (SELECT address FROM mailbox WHERE id::text = l.scope_key)
           WHEN 'domain' THEN (SELECT name FROM domain WHERE id::text = l.scope_key)
           WHEN 'account' THEN (SELECT p.name || '/' || a.name FROM account a JOIN provider p ON p.id = a.provider_id
                                WHERE a.id::text = l.scope_key)
           WHEN 'provider' THEN (SELECT name FROM provider WHERE id::text = l.scope_key)
           WHEN 'identity' THEN (SELECT name FROM identity WHERE id::text = l.scope_key)
           ELSE l.scope_key END AS name
FROM sending_limit l
WHERE l.scope_kind = ANY(%(kinds)s) AND l.source NOT IN ('ramp', 'default', 'half_open') AND l.source NOT LIKE 'preset %%'
ORDER BY l.id

-- name: known_mailboxes
-- Callers: plan_fleet, for limits that name one. Index: mailbox_address_key.
SELECT address FROM mailbox WHERE address = ANY(%(addresses)s)

-- name: write_identities
INSERT INTO identity (name, legal_name, postal_address, contact_email, opt_out_base_url, website, country)
SELECT name, legal_name, postal_address, contact_email, opt_out_base_url, website, country
FROM jsonb_to_recordset(%(rows)s::jsonb) AS w (
    name text, legal_name text, postal_address text, contact_email text, opt_out_base_url text, website text,
    country text, position bigint)
ORDER BY position
ON CONFLICT (name) DO UPDATE SET legal_name = EXCLUDED.legal_name, postal_address = EXCLUDED.postal_address,
    contact_email = EXCLUDED.contact_email, opt_out_base_url = EXCLUDED.opt_out_base_url, website = EXCLUDED.website,
    country = EXCLUDED.country

-- name: write_providers
INSERT INTO provider (name, preset, smtp_host, smtp_port, smtp_security, imap_host, imap_port, imap_security, ca_file,
    dialect, sent_copy, rewrites_message_id, max_connections, max_connections_per_mailbox, idle_seconds,
    outreach_policy, policy_source, policy_acknowledgement)
SELECT name, preset, smtp_host, smtp_port, smtp_security, imap_host, imap_port, imap_security, ca_file,
    dialect, sent_copy, rewrites_message_id, max_connections, max_connections_per_mailbox, idle_seconds,
    outreach_policy, policy_source, policy_acknowledgement
FROM jsonb_to_recordset(%(rows)s::jsonb) AS w (
    name text, preset text, smtp_host text, smtp_port integer, smtp_security text, imap_host text, imap_port integer,
    imap_security text, ca_file text, dialect text, sent_copy text, rewrites_message_id boolean,
    max_connections integer, max_connections_per_mailbox integer, idle_seconds integer, outreach_policy text,
    policy_source text, policy_acknowledgement text, position bigint)
ORDER BY position
ON CONFLICT (name) DO UPDATE SET preset = EXCLUDED.preset, smtp_host = EXCLUDED.smtp_host,
    smtp_port = EXCLUDED.smtp_port, smtp_security = EXCLUDED.smtp_security, imap_host = EXCLUDED.imap_host,
    imap_port = EXCLUDED.imap_port, imap_security = EXCLUDED.imap_security, ca_file = EXCLUDED.ca_file,
    dialect = EXCLUDED.dialect, sent_copy = EXCLUDED.sent_copy, rewrites_message_id = EXCLUDED.rewrites_message_id,
    max_connections = EXCLUDED.max_connections, max_connections_per_mailbox = EXCLUDED.max_connections_per_mailbox,
    idle_seconds = EXCLUDED.idle_seconds, outreach_policy = EXCLUDED.outreach_policy,
    policy_source = EXCLUDED.policy_source, policy_acknowledgement = EXCLUDED.policy_acknowledgement

-- name: write_accounts
INSERT INTO account (provider_id, name)
SELECT p.id, w.name
FROM jsonb_to_recordset(%(rows)s::jsonb) AS w (name text, provider text, position bigint)
JOIN provider p ON p.name = w.provider
ORDER BY position
ON CONFLICT (provider_id, name) DO NOTHING

-- name: write_domains
INSERT INTO domain (name, identity_id, dkim_selectors)
SELECT w.name, i.id, w.dkim_selectors
FROM jsonb_to_recordset(%(rows)s::jsonb) AS w (name text, identity text, dkim_selectors text[], position bigint)
JOIN identity i ON i.name = w.identity
ORDER BY position
ON CONFLICT (name) DO UPDATE SET identity_id = EXCLUDED.identity_id, dkim_selectors = EXCLUDED.dkim_selectors

-- name: write_pools
INSERT INTO pool (name, rule)
SELECT name, rule
FROM jsonb_to_recordset(%(rows)s::jsonb) AS w (name text, rule jsonb, position bigint)
ORDER BY position
ON CONFLICT (name) DO UPDATE SET rule = EXCLUDED.rule

-- name: write_limits
-- The file's limits and no others; a named scope that is not there writes nothing (never a limit of everybody). A limit
-- that stays keeps its row, and with it what is reserved against it.
-- Callers: apply_fleet. Index: sending_limit_unique.
WITH named AS (
    SELECT 'mailbox' AS kind, address AS name, id::text AS key FROM mailbox
    UNION ALL SELECT 'domain', name, id::text FROM domain
    UNION ALL SELECT 'account', p.name || '/' || a.name, a.id::text FROM account a JOIN provider p ON p.id = a.provider_id
    UNION ALL SELECT 'provider', name, id::text FROM provider
    UNION ALL SELECT 'identity', name, id::text FROM identity
), want AS (
    SELECT w.*, CASE WHEN w.kind IN ('recipient_domain', 'sender_host') THEN w.name ELSE n.key END AS key
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS w (
        kind text, name text, window_kind text, window_seconds integer, window_zone text, maximum integer, source text,
        position bigint)
    LEFT JOIN named n ON n.kind = w.kind AND n.name = w.name
), gone AS (
    DELETE FROM sending_limit l
    WHERE l.scope_kind = ANY(%(kinds)s) AND l.source NOT IN ('ramp', 'default', 'half_open') AND l.source NOT LIKE 'preset %%'
      AND NOT EXISTS (
          SELECT 1 FROM want w
          WHERE w.kind = l.scope_kind AND w.key IS NOT DISTINCT FROM l.scope_key AND w.window_kind = l.window_kind
            AND w.window_seconds = l.window_seconds AND w.window_zone = l.window_zone AND w.source = l.source)
    RETURNING l.id
), forgotten AS (
    DELETE FROM usage USING gone WHERE usage.limit_id = gone.id
)
INSERT INTO sending_limit (scope_kind, scope_key, window_kind, window_seconds, window_zone, maximum, source)
SELECT kind, key, window_kind, window_seconds, window_zone, maximum, source FROM want
WHERE name IS NULL OR key IS NOT NULL
ORDER BY position
ON CONFLICT (scope_kind, scope_key, window_kind, window_seconds, window_zone, source) DO UPDATE
SET maximum = EXCLUDED.maximum WHERE sending_limit.maximum <> EXCLUDED.maximum

-- name: write_default_limits
-- The design's caps on each mailbox and each domain. Callers: write_own_limits. Index: sending_limit_unique.
INSERT INTO sending_limit (scope_kind, scope_key, window_kind, maximum, source)
VALUES ('mailbox', NULL, 'rolling', %(hard_cap)s, 'default'), ('domain', NULL, 'rolling', %(domain)s, 'default')
ON CONFLICT (scope_kind, scope_key, window_kind, window_seconds, window_zone, source) DO UPDATE
SET maximum = EXCLUDED.maximum WHERE sending_limit.maximum <> EXCLUDED.maximum

-- name: write_preset_limits
-- What each provider's preset publishes, on every mailbox, account and provider it covers. Another's limit on the same
-- scope and window stands in its place. A row whose facts changed keeps what is reserved against it.
-- Callers: write_own_limits. Index: sending_limit_unique. Rows: the fleet.
WITH scope AS (
    SELECT p.preset, 'mailbox' AS kind, b.id::text AS key
    FROM mailbox b JOIN account a ON a.id = b.account_id JOIN provider p ON p.id = a.provider_id
    UNION ALL SELECT p.preset, 'account', a.id::text FROM account a JOIN provider p ON p.id = a.provider_id
    UNION ALL SELECT preset, 'provider', id::text FROM provider
), replaced AS MATERIALIZED (
    SELECT scope_kind, scope_key, window_kind, window_seconds, window_zone FROM sending_limit
    WHERE scope_key IS NOT NULL AND source NOT IN ('ramp', 'half_open') AND source NOT LIKE 'preset %%'
), want AS (
    SELECT f.*, s.key
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS f (
        preset text, kind text, window_kind text, window_seconds integer, window_zone text, maximum integer, source text)
    JOIN scope s ON s.preset = f.preset AND s.kind = f.kind
    WHERE NOT EXISTS (
        SELECT 1 FROM replaced r
        WHERE r.scope_kind = f.kind AND r.scope_key = s.key AND r.window_kind = f.window_kind
          AND r.window_seconds = f.window_seconds AND r.window_zone = f.window_zone)
), standing AS (
    SELECT l.id, w.maximum, w.source, w.key IS NULL AS is_over
    FROM sending_limit l
    LEFT JOIN want w ON w.kind = l.scope_kind AND w.key = l.scope_key AND w.window_kind = l.window_kind
        AND w.window_seconds = l.window_seconds AND w.window_zone = l.window_zone
    WHERE l.source LIKE 'preset %%'
), gone AS (
    DELETE FROM sending_limit l USING standing s WHERE l.id = s.id AND s.is_over RETURNING l.id
), forgotten AS (
    DELETE FROM usage USING gone WHERE usage.limit_id = gone.id
), changed AS (
    UPDATE sending_limit l SET maximum = s.maximum, source = s.source
    FROM standing s
    WHERE l.id = s.id AND NOT s.is_over AND (l.maximum, l.source) IS DISTINCT FROM (s.maximum, s.source)
)
INSERT INTO sending_limit (scope_kind, scope_key, window_kind, window_seconds, window_zone, maximum, source)
SELECT w.kind, w.key, w.window_kind, w.window_seconds, w.window_zone, w.maximum, w.source
FROM want w
WHERE NOT EXISTS (
    SELECT 1 FROM sending_limit l
    WHERE l.source LIKE 'preset %%' AND l.scope_kind = w.kind AND l.scope_key = w.key AND l.window_kind = w.window_kind
      AND l.window_seconds = w.window_seconds AND l.window_zone = w.window_zone)

-- name: settings
-- Callers: load_fleet.
SELECT value FROM setting WHERE name = %(name)s

-- name: write_setting
-- Callers: apply_fleet.
INSERT INTO setting (name, value) VALUES (%(name)s, %(value)s::jsonb)
ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value WHERE setting.value <> EXCLUDED.value

-- name: remove_pools
DELETE FROM pool WHERE name = ANY(%(names)s)

-- name: remove_accounts
-- With their grants, and the tokens that hang on these.
WITH gone AS (
    SELECT a.id FROM account a JOIN provider p ON p.id = a.provider_id WHERE p.name || '/' || a.name = ANY(%(names)s)
), tokens AS (
    DELETE FROM oauth_token t USING oauth_grant g, gone WHERE t.grant_id = g.id AND g.account_id = gone.id
), grants AS (
    DELETE FROM oauth_grant g USING gone WHERE g.account_id = gone.id
)
DELETE FROM account a USING gone WHERE a.id = gone.id

-- name: remove_providers
DELETE FROM provider WHERE name = ANY(%(names)s)

-- name: remove_domains
DELETE FROM domain WHERE name = ANY(%(names)s)

-- name: remove_identities
DELETE FROM identity WHERE name = ANY(%(names)s)
