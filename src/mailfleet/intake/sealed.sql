-- Everything that a key seals.

-- name: lock
-- Nobody writes what is sealed until the rotation is over; readers go on.
-- Callers: rotate_keys, prune_keys. Locks: all these tables, against writers.
LOCK TABLE mailbox, setting, oauth_token, oauth_grant, alert_target IN SHARE ROW EXCLUSIVE MODE

-- name: sealed
-- `name` is for a person; `key` finds the row. Callers: check_keys, rotate_keys. Rows: up to four times the fleet.
SELECT 'secret' AS place, address AS name, id::text AS key, secret AS sealed FROM mailbox
UNION ALL
SELECT 'imap_secret', address, id::text, imap_secret FROM mailbox WHERE imap_secret IS NOT NULL
UNION ALL
SELECT 'setting', name, name, convert_to(value #>> '{}', 'UTF8') FROM setting
WHERE name IN ('digest_key', 'opt_out_key')
UNION ALL
SELECT 'credential', p.name || '/' || a.name, g.id::text, g.credential
FROM oauth_grant g JOIN account a ON a.id = g.account_id JOIN provider p ON p.id = a.provider_id
UNION ALL
SELECT t.place, coalesce(b.address, p.name || '/' || a.name), t.id::text, t.sealed
FROM (SELECT 'access_token' AS place, id, grant_id, mailbox_id, access_token AS sealed FROM oauth_token
      UNION ALL
      SELECT 'refresh_token', id, grant_id, mailbox_id, refresh_token FROM oauth_token) AS t
JOIN oauth_grant g ON g.id = t.grant_id JOIN account a ON a.id = g.account_id JOIN provider p ON p.id = a.provider_id
LEFT JOIN mailbox b ON b.id = t.mailbox_id
WHERE t.sealed IS NOT NULL
UNION ALL
SELECT 'url', name, id::text, url FROM alert_target

-- name: seal_secret
-- What was refused stays refused: a new seal of the same password is no reason for another login.
WITH w AS (
    SELECT * FROM unnest(%(keys)s::bigint[], %(sealed)s::bytea[]) AS w (id, sealed)
), refused AS (
    UPDATE reading SET refused_secret = w.sealed FROM w JOIN mailbox b ON b.id = w.id
    WHERE reading.mailbox_id = b.id AND reading.refused_secret = b.secret
)
UPDATE mailbox SET secret = w.sealed FROM w WHERE mailbox.id = w.id

-- name: seal_imap_secret
WITH w AS (
    SELECT * FROM unnest(%(keys)s::bigint[], %(sealed)s::bytea[]) AS w (id, sealed)
), refused AS (
    UPDATE reading SET refused_secret = w.sealed FROM w JOIN mailbox b ON b.id = w.id
    WHERE reading.mailbox_id = b.id AND reading.refused_secret = b.imap_secret
)
UPDATE mailbox SET imap_secret = w.sealed FROM w WHERE mailbox.id = w.id

-- name: seal_setting
UPDATE setting SET value = to_jsonb(convert_from(w.sealed, 'UTF8'))
FROM unnest(%(keys)s::text[], %(sealed)s::bytea[]) AS w (name, sealed)
WHERE setting.name = w.name

-- name: seal_credential
UPDATE oauth_grant SET credential = w.sealed FROM unnest(%(keys)s::bigint[], %(sealed)s::bytea[]) AS w (id, sealed)
WHERE oauth_grant.id = w.id

-- name: seal_access_token
UPDATE oauth_token SET access_token = w.sealed FROM unnest(%(keys)s::bigint[], %(sealed)s::bytea[]) AS w (id, sealed)
WHERE oauth_token.id = w.id

-- name: seal_refresh_token
UPDATE oauth_token SET refresh_token = w.sealed FROM unnest(%(keys)s::bigint[], %(sealed)s::bytea[]) AS w (id, sealed)
WHERE oauth_token.id = w.id

-- name: seal_url
UPDATE alert_target SET url = w.sealed FROM unnest(%(keys)s::bigint[], %(sealed)s::bytea[]) AS w (id, sealed)
WHERE alert_target.id = w.id

-- name: at_work
-- Callers: rotate_keys, prune_keys. Rows: the senders and watchers that ever ran.
SELECT (SELECT count(*) FROM sender
        WHERE stopped_at IS NULL AND seen_at > clock_timestamp() - %(lease)s::interval) AS senders,
       (SELECT count(*) FROM watcher
        WHERE stopped_at IS NULL AND seen_at > clock_timestamp() - %(lease)s::interval) AS watchers
