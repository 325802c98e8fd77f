-- Tokens as senders and watchers share them. `clock_timestamp()` is the time of every process.

-- name: standing
-- A mailbox, its account's grant and the token that serves it, with what stands in the way of a new one.
-- Callers: TokenStore.read. Index: mailbox_pkey, oauth_grant_one_per_account, oauth_token_one_per_mailbox. Rows: 1.
SELECT b.id AS mailbox_id, b.address, b.login, b.account_id, p.name || '/' || a.name AS account,
       g.id AS grant_id, g.flow, g.client_id, g.token_url, g.scope, g.ca_file, g.credential,
       t.access_token, t.fetched_at, t.refresh_token, clock_timestamp() AS now,
       extract(epoch FROM t.refresh_at - clock_timestamp())::float8 AS fresh_for,
       extract(epoch FROM t.expires_at - clock_timestamp())::float8 AS good_for,
       CASE WHEN g.rest_until > clock_timestamp() THEN g.rest_until END AS rest_until,
       CASE WHEN g.fault_until > clock_timestamp() THEN g.fault_kind END AS grant_fault,
       g.fault_text AS grant_fault_text, g.fault_hint AS grant_fault_hint,
       CASE WHEN t.fault_until > clock_timestamp() THEN t.fault_kind END AS mailbox_fault,
       t.fault_text AS mailbox_fault_text, t.fault_hint AS mailbox_fault_hint
FROM mailbox b
JOIN account a ON a.id = b.account_id
JOIN provider p ON p.id = a.provider_id
LEFT JOIN oauth_grant g ON g.account_id = a.id
LEFT JOIN oauth_token t ON t.grant_id = g.id
     AND t.mailbox_id IS NOT DISTINCT FROM CASE WHEN g.flow <> 'client_credentials' THEN b.id END
WHERE b.id = %(mailbox)s

-- name: lock_grant
-- First statement of a claim, so that the next one counts what is committed: never more than so many at once.
-- Callers: TokenStore.claim. Index: oauth_grant_pkey. Rows: 1. Locks: the grant, to the end of the transaction.
SELECT flow, CASE WHEN failures > 0 OR fault_kind IS NOT NULL THEN 1 ELSE %(at_once)s END AS room
FROM oauth_grant
WHERE id = %(grant)s
  AND (rest_until IS NULL OR rest_until <= clock_timestamp())
  AND (fault_until IS NULL OR fault_until <= clock_timestamp())
FOR NO KEY UPDATE

-- name: claim
-- The right to ask for this token, if it is due, nobody has it, and the grant has room. A claim that ran out is taken
-- over: its process died, or outlived its own deadline. No row: someone else asks, or has asked.
-- Callers: TokenStore.claim, after lock_grant. Index: oauth_token_one_per_mailbox, oauth_token_claimed. Rows: 1.
INSERT INTO oauth_token AS t (grant_id, mailbox_id, claim, claimed_until)
SELECT %(grant)s, %(mailbox)s, %(claim)s, clock_timestamp() + %(length)s::interval
WHERE %(room)s > (SELECT count(*) FROM oauth_token WHERE grant_id = %(grant)s AND claim IS NOT NULL
                                                     AND claimed_until > clock_timestamp())
ON CONFLICT ON CONSTRAINT oauth_token_one_per_mailbox DO UPDATE
SET claim = EXCLUDED.claim, claimed_until = EXCLUDED.claimed_until
WHERE (t.claim IS NULL OR t.claimed_until <= clock_timestamp())
  AND (t.refresh_at IS NULL OR t.refresh_at <= clock_timestamp())
  AND (t.fault_until IS NULL OR t.fault_until <= clock_timestamp())
RETURNING t.id, t.refresh_token, clock_timestamp() AS now

-- name: keep
-- The answer, in one step: a rotated refresh token is there before the old one is gone. No row: the claim was lost, and
-- whoever has it now, or connected the account anew, knows better.
-- Callers: TokenStore.keep. Index: oauth_token_pkey. Rows: 1.
UPDATE oauth_token
SET access_token = %(access_token)s, fetched_at = clock_timestamp(),
    refresh_at = clock_timestamp() + %(fresh_for)s::interval, expires_at = clock_timestamp() + %(good_for)s::interval,
    refresh_token = coalesce(%(refresh_token)s, refresh_token), claim = NULL, claimed_until = NULL,
    fault_kind = NULL, fault_text = '', fault_hint = '', fault_at = NULL, fault_until = NULL
WHERE id = %(token)s AND claim = %(claim)s

-- name: served
-- The grant works: what stood against it is over. Callers: TokenStore.keep, after it. Index: oauth_grant_pkey.
UPDATE oauth_grant
SET failures = 0, rest_until = NULL, fault_kind = NULL, fault_text = '', fault_hint = '', fault_at = NULL,
    fault_until = NULL
WHERE id = %(grant)s AND (failures > 0 OR fault_kind IS NOT NULL)

-- name: release
-- Gives the claim back. No row: it was lost, and nothing may be written in its name.
-- Callers: TokenStore.rest, fault_grant, fault_mailbox. Index: oauth_token_pkey. Rows: 1.
UPDATE oauth_token SET claim = NULL, claimed_until = NULL WHERE id = %(token)s AND claim = %(claim)s RETURNING id

-- name: rest
-- Nobody asks for a while: as long as the server said, else each time twice as long. Many that failed together count
-- once. Callers: TokenStore.rest. Index: oauth_grant_pkey. Rows: 1.
UPDATE oauth_grant
SET failures = failures + 1,
    rest_until = clock_timestamp()
                 + coalesce(%(rest)s::interval, least(%(first)s::interval * power(2, least(failures, 20)), %(longest)s))
                 * %(chance)s
WHERE id = %(grant)s AND (rest_until IS NULL OR rest_until <= clock_timestamp())

-- name: fault_grant
-- Not over a grant that was connected anew since the question. Callers: TokenStore.fault_grant. Index: oauth_grant_pkey. Rows: 1.
UPDATE oauth_grant
SET fault_at = CASE WHEN fault_kind = %(kind)s THEN fault_at ELSE clock_timestamp() END,
    fault_kind = %(kind)s, fault_text = %(text)s, fault_hint = %(hint)s,
    fault_until = clock_timestamp() + %(length)s::interval
WHERE id = %(grant)s AND connected_at < %(claimed_at)s

-- name: fault_mailbox
-- Callers: TokenStore.fault_mailbox. Index: oauth_token_pkey. Rows: 1.
UPDATE oauth_token
SET fault_at = CASE WHEN fault_kind = %(kind)s THEN fault_at ELSE clock_timestamp() END,
    fault_kind = %(kind)s, fault_text = %(text)s, fault_hint = %(hint)s,
    fault_until = clock_timestamp() + %(length)s::interval
WHERE id = %(token)s

-- name: witness
-- The login of another mailbox that this grant served last, to tell a fault of the account from one of a mailbox.
-- Callers: TokenStore.witness. Index: oauth_token_one_per_mailbox. Rows: 1 of the account's mailboxes.
SELECT b.login
FROM oauth_token t JOIN mailbox b ON b.id = t.mailbox_id
WHERE t.grant_id = %(grant)s AND t.mailbox_id <> %(mailbox)s AND t.fetched_at IS NOT NULL AND b.retired_at IS NULL
ORDER BY t.fetched_at DESC, t.id
LIMIT 1

-- name: forget
-- A token that a server refused is not handed out again; `fetched_at` says that it is still that one.
-- Callers: TokenStore.forget. Index: oauth_token_one_per_mailbox. Rows: 1.
UPDATE oauth_token
SET refresh_at = clock_timestamp(), expires_at = clock_timestamp()
WHERE grant_id = %(grant)s AND mailbox_id IS NOT DISTINCT FROM %(mailbox)s AND fetched_at = %(fetched_at)s
  AND fetched_at <= clock_timestamp() - %(young)s::interval
RETURNING id
