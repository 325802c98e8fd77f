-- How the fleet is read: leases of mailboxes, when each is due, how far each folder was read. `clock_timestamp()` is the
-- time of every watcher. What one watcher writes about a mailbox names its fence; no row means that the lease is lost.

-- name: register_watcher
INSERT INTO watcher (host, pid) VALUES (%(host)s, %(pid)s) RETURNING id

-- name: watcher_seen
-- Says that we live. Callers: Leases, every third of a lease. Index: watcher_pkey.
UPDATE watcher SET seen_at = clock_timestamp() WHERE id = %(watcher)s

-- name: watcher_stopped
UPDATE watcher SET stopped_at = clock_timestamp(), seen_at = clock_timestamp() WHERE id = %(watcher)s

-- name: make_readings
-- A row for each mailbox that can be read and has none; many new ones are spread, so that they are not all read at once.
-- Callers: Leases, every third of a lease. Index: reading_pkey. Rows: new mailboxes.
WITH fresh AS (
    SELECT b.id, count(*) OVER () AS many FROM mailbox b
    WHERE b.retired_at IS NULL AND b.imap_host <> ''
      AND NOT EXISTS (SELECT FROM reading r WHERE r.mailbox_id = b.id)
)
INSERT INTO reading (mailbox_id, next_at)
SELECT id, clock_timestamp() + random() * least(many * %(apart)s::interval, %(longest)s::interval) FROM fresh
ON CONFLICT DO NOTHING

-- name: census
-- How many mailboxes are to be read, and by how many watchers. Callers: Leases. Rows: 1 from the fleet.
SELECT (SELECT count(*) FROM mailbox WHERE retired_at IS NULL AND imap_host <> '') AS mailboxes,
       (SELECT count(*) FROM watcher WHERE stopped_at IS NULL
                                       AND seen_at > clock_timestamp() - %(lease)s::interval) AS watchers

-- name: lease_readings
-- Takes up to `room` mailboxes that nobody holds, longest due first; a lease that ran out is taken over.
-- Callers: Leases. Index: reading_due. Locks: reading rows.
WITH free AS (
    SELECT r.mailbox_id
    FROM reading r JOIN mailbox b ON b.id = r.mailbox_id
    WHERE b.retired_at IS NULL AND b.imap_host <> ''
      AND (r.watcher_id IS NULL OR r.expires_at <= clock_timestamp())
    ORDER BY r.next_at, r.mailbox_id
    LIMIT %(room)s
    FOR UPDATE OF r SKIP LOCKED
)
UPDATE reading SET watcher_id = %(watcher)s, fence = reading.fence + 1,
    expires_at = clock_timestamp() + %(lease)s::interval
FROM free WHERE reading.mailbox_id = free.mailbox_id
RETURNING reading.mailbox_id, reading.fence

-- name: renew_readings
-- Prolongs leases by fence, one that ran out too while nobody took it over: a database that was away costs no session.
-- What is missing in the answer is lost, or is read no more. Callers: Leases, every third of a lease.
-- Index: reading_pkey. Locks: reading rows.
UPDATE reading SET expires_at = clock_timestamp() + %(lease)s::interval
FROM unnest(%(mailboxes)s::bigint[], %(fences)s::bigint[]) AS mine (mailbox_id, fence)
JOIN mailbox b ON b.id = mine.mailbox_id AND b.retired_at IS NULL AND b.imap_host <> ''
WHERE reading.mailbox_id = mine.mailbox_id AND reading.fence = mine.fence AND reading.watcher_id = %(watcher)s
RETURNING reading.mailbox_id

-- name: release_readings
-- Gives leases back, by fence. Callers: Leases. Index: reading_pkey. Locks: reading rows.
UPDATE reading SET watcher_id = NULL, expires_at = NULL
FROM unnest(%(mailboxes)s::bigint[], %(fences)s::bigint[]) AS mine (mailbox_id, fence)
WHERE reading.mailbox_id = mine.mailbox_id AND reading.fence = mine.fence AND reading.watcher_id = %(watcher)s

-- name: due
-- Our mailboxes that are to be read now, longest due first. After a refused login only a new secret makes one due.
-- Callers: Watcher, each second. Index: reading_of_watcher. Rows: a few.
SELECT r.mailbox_id, r.fence, b.imap_host || ':' || b.imap_port AS host
FROM reading r JOIN mailbox b ON b.id = r.mailbox_id
WHERE r.watcher_id = %(watcher)s
  AND CASE WHEN r.refused_secret IS NULL THEN r.next_at <= clock_timestamp()
           ELSE r.refused_secret <> coalesce(b.imap_secret, b.secret) END
ORDER BY r.next_at

-- name: busy
-- Our mailboxes that wrote letters lately, the latest first: there answers come. Callers: Watcher, each minute.
-- Index: reading_of_watcher, attempt_of_mailbox. Rows: at most `most`.
SELECT r.mailbox_id
FROM reading r
CROSS JOIN LATERAL (
    SELECT a.reserved_at FROM attempt a WHERE a.mailbox_id = r.mailbox_id ORDER BY a.id DESC LIMIT 1) AS last
WHERE r.watcher_id = %(watcher)s AND last.reserved_at > clock_timestamp() - %(lately)s::interval
ORDER BY last.reserved_at DESC
LIMIT %(most)s

-- name: hasten
-- Makes mailboxes with errands due, each once a minute at most, and none that fails. Callers: Watcher.
-- Index: reading_of_watcher.
UPDATE reading SET next_at = clock_timestamp()
WHERE watcher_id = %(watcher)s AND mailbox_id = ANY(%(mailboxes)s) AND failing_since IS NULL
  AND next_at > clock_timestamp() AND (read_at IS NULL OR read_at < clock_timestamp() - %(apart)s::interval)

-- name: failing
-- Our mailboxes that cannot be read. Callers: Watcher, each minute. Index: reading_of_watcher. Rows: a few.
SELECT mailbox_id, fault_kind, failures, clock_timestamp() - coalesce(read_at, failing_since) AS unread_for
FROM reading WHERE watcher_id = %(watcher)s AND failing_since IS NOT NULL

-- name: try_again
-- Forgets a refusal and the back-off, and since when it was refused: what health sees next is the new try. Since when it
-- is unread otherwise stands, or a mailbox that was never read would write for an hour.
-- Callers: Watcher, for mailboxes whose hold was lifted. Index: reading_of_watcher.
UPDATE reading SET next_at = clock_timestamp(), refused_secret = NULL,
    failing_since = CASE WHEN refused_secret IS NULL THEN failing_since END
WHERE watcher_id = %(watcher)s AND mailbox_id = ANY(%(mailboxes)s)

-- name: families_over
-- The families of the holds that stand over mailboxes, on any scope of theirs. Callers: Watcher, Visitor.
-- Index: mailbox_pkey, hold_standing.
SELECT DISTINCT b.id AS mailbox_id, h.family
FROM mailbox b
JOIN domain d ON d.id = b.domain_id
JOIN account a ON a.id = b.account_id
CROSS JOIN LATERAL (VALUES
    ('mailbox', b.id::text), ('domain', d.id::text), ('account', a.id::text), ('provider', a.provider_id::text),
    ('identity', d.identity_id::text), ('fleet', %(fleet)s)) AS scope (kind, key)
JOIN hold h ON h.scope_kind = scope.kind AND h.scope_key = scope.key
WHERE b.id = ANY(%(mailboxes)s) AND h.family IS NOT NULL
  AND h.lifted_at IS NULL AND (h.until IS NULL OR h.until > clock_timestamp())

-- name: load_reading
-- What a visit must know of a mailbox; no row when it is not ours, or is read no more.
-- Callers: Visitor. Index: reading_pkey, mailbox_pkey. Rows: 1.
SELECT b.id, b.address, b.imap_host, b.imap_port, b.imap_security, b.auth,
       coalesce(nullif(b.imap_login, ''), b.login) AS login, coalesce(b.imap_secret, b.secret) AS sealed,
       coalesce(nullif(b.ca_file, ''), p.ca_file) AS ca_file, r.read_at, clock_timestamp() AS now,
       (SELECT jsonb_object_agg(c.folder, jsonb_build_array(c.name, c.uid_validity, c.uid))
        FROM reading_cursor c WHERE c.mailbox_id = b.id) AS cursors
FROM reading r
JOIN mailbox b ON b.id = r.mailbox_id
JOIN account a ON a.id = b.account_id
JOIN provider p ON p.id = a.provider_id
WHERE r.mailbox_id = %(mailbox)s AND r.watcher_id = %(watcher)s AND r.fence = %(fence)s
  AND b.retired_at IS NULL AND b.imap_host <> ''

-- name: keep_cursor
-- Everything up to here was taken and is committed. No row: the mailbox is another watcher's.
-- Callers: Visitor, after each batch. Index: reading_pkey, reading_cursor_pkey. Locks: the reading row.
WITH mine AS (
    SELECT mailbox_id FROM reading
    WHERE mailbox_id = %(mailbox)s AND watcher_id = %(watcher)s AND fence = %(fence)s
    FOR UPDATE
)
INSERT INTO reading_cursor (mailbox_id, folder, name, uid_validity, uid)
SELECT mailbox_id, %(folder)s, %(name)s, %(uid_validity)s, %(uid)s FROM mine
ON CONFLICT (mailbox_id, folder) DO UPDATE
SET name = EXCLUDED.name, uid_validity = EXCLUDED.uid_validity, uid = EXCLUDED.uid
RETURNING mailbox_id

-- name: tell_not_read
-- A mail that the server did not show, or its head alone, waits in the list of those that belong to no letter; once.
-- Callers: Visitor. Index: reading_pkey, incoming_once. Locks: the reading row.
WITH mine AS (
    SELECT mailbox_id FROM reading
    WHERE mailbox_id = %(mailbox)s AND watcher_id = %(watcher)s AND fence = %(fence)s
    FOR UPDATE
), told AS (
    INSERT INTO incoming (mailbox_id, folder, uid_validity, uid, digest, sender_address, subject, received_at, kind, text)
    SELECT mailbox_id, %(folder)s, %(uid_validity)s, %(uid)s, %(digest)s, %(sender_address)s, %(subject)s,
           clock_timestamp(), %(kind)s, %(text)s
    FROM mine
    ON CONFLICT (mailbox_id, digest) DO NOTHING
)
SELECT mailbox_id FROM mine

-- name: read_well
-- Both folders were read to their end: the fault is over, and our own holds with it.
-- Callers: Visitor. Index: reading_pkey, hold_standing. Locks: the reading row, our holds on the mailbox.
WITH well AS (
    UPDATE reading SET read_at = clock_timestamp(), next_at = clock_timestamp() + %(wait)s::interval,
        failing_since = NULL, failures = 0, fault_kind = '', fault_text = '', refused_secret = NULL
    WHERE mailbox_id = %(mailbox)s AND watcher_id = %(watcher)s AND fence = %(fence)s
    RETURNING mailbox_id
), lifted AS (
    UPDATE hold SET lifted_at = clock_timestamp(), lifted_by = %(set_by)s
    FROM well
    WHERE scope_kind = 'mailbox' AND scope_key = well.mailbox_id::text AND lifted_at IS NULL AND set_by = %(set_by)s
)
SELECT mailbox_id FROM well

-- name: read_on
-- The session works, and there is more to read at once. Callers: Visitor. Index: reading_pkey. Locks: the reading row.
UPDATE reading SET next_at = clock_timestamp(), failing_since = NULL, failures = 0, fault_kind = '',
    fault_text = '', refused_secret = NULL
WHERE mailbox_id = %(mailbox)s AND watcher_id = %(watcher)s AND fence = %(fence)s
RETURNING mailbox_id

-- name: fail
-- It could not be read: again after a wait, doubled with each failure; after a refused login not with the same secret.
-- Callers: Visitor. Index: reading_pkey. Locks: the reading row.
UPDATE reading SET failures = failures + 1, failing_since = coalesce(failing_since, clock_timestamp()),
    fault_kind = %(kind)s, fault_text = %(text)s, refused_secret = %(refused)s,
    next_at = clock_timestamp() + %(chance)s * least(%(longest)s::interval, %(first)s::interval * 2 ^ least(failures, 20))
WHERE mailbox_id = %(mailbox)s AND watcher_id = %(watcher)s AND fence = %(fence)s
RETURNING failures, clock_timestamp() - coalesce(read_at, failing_since) AS unread_for
