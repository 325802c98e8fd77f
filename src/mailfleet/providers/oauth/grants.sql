-- An account's grant as a person connects it and looks at it.

-- name: account
-- Callers: find_account. Rows: the accounts of that name.
SELECT a.id, p.name || '/' || a.name AS name, p.preset
FROM account a JOIN provider p ON p.id = a.provider_id
WHERE p.name || '/' || a.name = %(name)s OR a.name = %(name)s
ORDER BY name

-- name: mailboxes
-- Those of an account that log in by OAuth.
-- Callers: oauth_mailboxes. Index: mailbox_account_id. Rows: the account's mailboxes.
SELECT b.id, b.address, b.login, b.smtp_host, b.smtp_port, b.smtp_security, b.imap_host, b.imap_port, b.imap_security,
       b.imap_login, coalesce(nullif(b.ca_file, ''), p.ca_file) AS ca_file, t.refresh_token IS NOT NULL AS has_consent
FROM mailbox b
JOIN account a ON a.id = b.account_id
JOIN provider p ON p.id = a.provider_id
LEFT JOIN oauth_grant g ON g.account_id = a.id
LEFT JOIN oauth_token t ON t.grant_id = g.id AND t.mailbox_id = b.id
WHERE b.account_id = %(account)s AND b.auth = 'xoauth2' AND b.retired_at IS NULL
ORDER BY b.address

-- name: connected
-- Accounts that have a grant, each with its mailboxes, or once with none.
-- Callers: load_connected. Index: oauth_grant_one_per_account, mailbox_account_id. Rows: the fleet at most.
SELECT p.name || '/' || a.name AS account, b.id, b.address
FROM oauth_grant g
JOIN account a ON a.id = g.account_id
JOIN provider p ON p.id = a.provider_id
LEFT JOIN mailbox b ON b.account_id = a.id AND b.retired_at IS NULL

-- name: save_grant
-- Connecting anew takes the place of what was there, faults and rests included.
-- Callers: save_grant, in its transaction. Index: oauth_grant_one_per_account. Rows: 1. Locks: the grant.
INSERT INTO oauth_grant AS g (account_id, flow, client_id, token_url, scope, ca_file, credential, expires_on)
VALUES (%(account)s, %(flow)s, %(client_id)s, %(token_url)s, %(scope)s, %(ca_file)s, %(credential)s, %(expires_on)s)
ON CONFLICT ON CONSTRAINT oauth_grant_one_per_account DO UPDATE
SET flow = EXCLUDED.flow, client_id = EXCLUDED.client_id, token_url = EXCLUDED.token_url, scope = EXCLUDED.scope,
    ca_file = EXCLUDED.ca_file, credential = EXCLUDED.credential, expires_on = EXCLUDED.expires_on,
    connected_at = clock_timestamp(), failures = 0, rest_until = NULL,
    fault_kind = NULL, fault_text = '', fault_hint = '', fault_at = NULL, fault_until = NULL
RETURNING id

-- name: drop_tokens
-- Tokens of the grant as it was; consents given to the same client stay. A claim on what goes can write no more.
-- Callers: save_grant, after it. Index: oauth_token_one_per_mailbox. Rows: the account's mailboxes.
DELETE FROM oauth_token WHERE grant_id = %(grant)s AND (%(drops_consents)s OR refresh_token IS NULL)

-- name: clear_faults
-- Callers: save_grant, ask_again. Index: oauth_token_one_per_mailbox. Rows: the account's mailboxes with faults.
UPDATE oauth_token
SET fault_kind = NULL, fault_text = '', fault_hint = '', fault_at = NULL, fault_until = NULL
WHERE grant_id = %(grant)s AND fault_kind IS NOT NULL

-- name: renew
-- Access tokens end here; claims stay, for a refresh token may be on its way under one.
-- Callers: save_grant, ask_again. Index: oauth_token_one_per_mailbox. Rows: the account's mailboxes, or those named.
UPDATE oauth_token
SET refresh_at = clock_timestamp(), expires_at = clock_timestamp()
WHERE grant_id = %(grant)s AND access_token IS NOT NULL
  AND (%(mailboxes)s::bigint[] IS NULL OR mailbox_id IS NULL OR mailbox_id = ANY(%(mailboxes)s::bigint[]))

-- name: read_again
-- Mailboxes that could not be read log in otherwise now. Callers: save_grant, ask_again. Index: reading_pkey.
-- Rows: the account's mailboxes that fail.
UPDATE reading r SET refused_secret = NULL, next_at = clock_timestamp()
FROM mailbox b
WHERE b.id = r.mailbox_id AND b.account_id = %(account)s AND b.auth = 'xoauth2' AND r.failing_since IS NOT NULL

-- name: grant_before
-- Callers: grant_before; save_grant, first. Index: oauth_grant_one_per_account, oauth_token_one_per_mailbox. Rows: 1.
-- Locks: the grant.
SELECT g.client_id,
       (g.flow, g.client_id, g.token_url) = (%(flow)s, %(client_id)s, %(token_url)s) AS is_same,
       (SELECT count(*) FROM oauth_token t WHERE t.grant_id = g.id AND t.refresh_token IS NOT NULL) AS consents
FROM oauth_grant g WHERE g.account_id = %(account)s FOR UPDATE

-- name: save_consent
-- Callers: save_consent. Index: oauth_token_one_per_mailbox. Rows: 1.
INSERT INTO oauth_token AS t (grant_id, mailbox_id, access_token, fetched_at, refresh_at, expires_at, refresh_token)
SELECT g.id, %(mailbox)s, %(access_token)s, clock_timestamp(), clock_timestamp() + %(fresh_for)s::interval,
       clock_timestamp() + %(good_for)s::interval, %(refresh_token)s
FROM oauth_grant g WHERE g.account_id = %(account)s
ON CONFLICT ON CONSTRAINT oauth_token_one_per_mailbox DO UPDATE
SET access_token = EXCLUDED.access_token, fetched_at = EXCLUDED.fetched_at, refresh_at = EXCLUDED.refresh_at,
    expires_at = EXCLUDED.expires_at, refresh_token = EXCLUDED.refresh_token, claim = NULL, claimed_until = NULL,
    fault_kind = NULL, fault_text = '', fault_hint = '', fault_at = NULL, fault_until = NULL

-- name: mended
-- A person says that what was wrong is mended: asks at once. Callers: ask_again. Rows: 1.
UPDATE oauth_grant
SET failures = 0, rest_until = NULL, fault_kind = NULL, fault_text = '', fault_hint = '', fault_at = NULL,
    fault_until = NULL
WHERE account_id = %(account)s
RETURNING id

-- name: grants
-- Callers: list_grants. Rows: the accounts that have a grant, or mailboxes that need one.
SELECT p.name || '/' || a.name AS account, a.id AS account_id, g.flow, g.client_id, g.expires_on, g.connected_at,
       g.fault_kind, g.fault_text, g.fault_hint, g.fault_at, g.rest_until,
       (SELECT count(*) FROM mailbox b
        WHERE b.account_id = a.id AND b.auth = 'xoauth2' AND b.retired_at IS NULL) AS mailboxes,
       count(t.id) FILTER (WHERE t.refresh_token IS NOT NULL) AS consents,
       count(t.id) FILTER (WHERE t.expires_at > clock_timestamp()) AS good_tokens,
       count(t.id) FILTER (WHERE t.fault_kind IS NOT NULL) AS faulty_mailboxes
FROM account a
JOIN provider p ON p.id = a.provider_id
LEFT JOIN oauth_grant g ON g.account_id = a.id
LEFT JOIN oauth_token t ON t.grant_id = g.id
WHERE g.id IS NOT NULL OR EXISTS (SELECT FROM mailbox b WHERE b.account_id = a.id AND b.auth = 'xoauth2')
GROUP BY p.name, a.name, a.id, g.id
ORDER BY account

-- name: faults
-- Callers: standing_faults. Index: a scan: a row for each account, and for each mailbox with OAuth. Rows: few.
SELECT g.account_id, NULL::bigint AS mailbox_id, p.name || '/' || a.name AS name, g.fault_kind AS kind,
       g.fault_text AS text, g.fault_hint AS hint, g.fault_at AS since_at
FROM oauth_grant g JOIN account a ON a.id = g.account_id JOIN provider p ON p.id = a.provider_id
WHERE g.fault_kind IS NOT NULL
UNION ALL
SELECT b.account_id, b.id, b.address, t.fault_kind, t.fault_text, t.fault_hint, t.fault_at
FROM oauth_token t JOIN oauth_grant g ON g.id = t.grant_id
JOIN mailbox b ON b.id = t.mailbox_id AND b.account_id = g.account_id
WHERE t.fault_kind IS NOT NULL AND g.fault_kind IS NULL AND b.retired_at IS NULL
ORDER BY 1, 2 NULLS FIRST

-- name: ending
-- Callers: ending_grants. Rows: few.
SELECT p.name || '/' || a.name AS account, a.id AS account_id, g.flow, g.client_id, g.expires_on
FROM oauth_grant g JOIN account a ON a.id = g.account_id JOIN provider p ON p.id = a.provider_id
WHERE g.expires_on <= %(by)s
ORDER BY g.expires_on, account
