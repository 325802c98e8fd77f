-- Everything that a key seals.

-- name: lock
-- Nobody writes a secret or a setting until the rotation is over; readers go on.
-- Callers: rotate_keys, prune_keys. Locks: both tables, against writers.
LOCK TABLE mailbox, setting IN SHARE ROW EXCLUSIVE MODE

-- name: sealed
-- Callers: check_keys, rotate_keys. Rows: up to twice the fleet.
SELECT 'secret' AS place, address AS name, secret AS sealed FROM mailbox
UNION ALL
SELECT 'imap_secret', address, imap_secret FROM mailbox WHERE imap_secret IS NOT NULL
UNION ALL
SELECT 'setting', name, convert_to(value #>> '{}', 'UTF8') FROM setting WHERE name IN ('digest_key', 'opt_out_key')

-- name: seal_secret
UPDATE mailbox SET secret = w.sealed FROM unnest(%(names)s::text[], %(sealed)s::bytea[]) AS w (name, sealed)
WHERE mailbox.address = w.name

-- name: seal_imap_secret
UPDATE mailbox SET imap_secret = w.sealed FROM unnest(%(names)s::text[], %(sealed)s::bytea[]) AS w (name, sealed)
WHERE mailbox.address = w.name

-- name: seal_setting
UPDATE setting SET value = to_jsonb(convert_from(w.sealed, 'UTF8'))
FROM unnest(%(names)s::text[], %(sealed)s::bytea[]) AS w (name, sealed)
WHERE setting.name = w.name

-- name: senders_at_work
-- Callers: rotate_keys, prune_keys. Rows: the senders that ever ran.
SELECT count(*) FROM sender WHERE stopped_at IS NULL AND seen_at > clock_timestamp() - %(lease)s::interval
