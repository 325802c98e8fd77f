-- What is looked for in Sent folders. `setting` keeps two kinds of rows of it: `errands/MAILBOX`, the looks for each
-- ambiguous attempt and until when the mailbox rests; `sent_copy/PROVIDER`, what was seen of its copies, what was learned
-- from it, and when we last filed one ourselves.

-- name: letters
-- The ambiguous letters of mailboxes with all that a look needs. `is_answered`: something came back that may be about it.
-- `has_twin`: the same person was written to under the
-- same subject at about the same time, so likeness tells nothing.
-- Callers: letters_due, reconcile. Index: message_in_hand, attempt_number_unique, event_once, message by contact,
-- setting_pkey. Rows: few.
SELECT m.id, m.mailbox_id, m.header_id, m.subject, c.address, a.id AS attempt_id, a.reserved_at,
       a.settled_at AS ambiguous_at, p.sent_copy, p.rewrites_message_id AS rewrites,
       a.stage = 'lease' AND s.stopped_at IS NULL AND s.seen_at > clock_timestamp() - %(alive)s::interval AS may_settle,
       EXISTS (SELECT 1 FROM event e WHERE e.message_id = m.id)
           OR EXISTS (SELECT 1 FROM incoming i WHERE i.message_id = m.id) AS is_answered,
       EXISTS (SELECT 1 FROM message t JOIN attempt ta ON ta.message_id = t.id
               WHERE t.contact_id = m.contact_id AND t.id <> m.id AND t.mailbox_id = m.mailbox_id AND t.subject = m.subject
                 AND ta.reserved_at BETWEEN a.reserved_at - interval '1 day' AND a.reserved_at + interval '1 day')
           AS has_twin,
       k.value -> 'letters' -> a.id::text AS memory, clock_timestamp() AS now
FROM message m
JOIN attempt a ON a.message_id = m.id AND a.outcome = 'ambiguous'
JOIN sender s ON s.id = a.sender_id
JOIN contact c ON c.id = m.contact_id AND c.erased_at IS NULL
JOIN mailbox b ON b.id = m.mailbox_id
JOIN account o ON o.id = b.account_id
JOIN provider p ON p.id = o.provider_id
LEFT JOIN setting k ON k.name = 'errands/' || m.mailbox_id
WHERE m.state = 'ambiguous' AND m.mailbox_id = ANY(%(mailboxes)s)
ORDER BY a.id

-- name: lock_attempt
-- Callers: reconcile, before what is decided there. Index: attempt_pkey. Locks: the attempt.
SELECT id FROM attempt WHERE id = %(attempt)s AND outcome = 'ambiguous' FOR NO KEY UPDATE

-- name: neighbours
-- The letters of a mailbox next before and next after an attempt that its server took with a reply of its own, the one
-- after long enough ago to be filed. None whose copy we may have filed ourselves.
-- Callers: reconcile. Index: attempt_of_mailbox, setting_pkey. Rows: 0 to 2.
WITH own AS (
    SELECT coalesce(max((k.value ->> 'filed_at')::timestamptz), '-infinity') AS filed_at
    FROM mailbox b JOIN account o ON o.id = b.account_id JOIN setting k ON k.name = 'sent_copy/' || o.provider_id
    WHERE b.id = %(mailbox)s
)
SELECT m.header_id, n.is_before
FROM own CROSS JOIN LATERAL (
    (SELECT a.message_id, a.reserved_at, true AS is_before FROM attempt a
     WHERE a.mailbox_id = %(mailbox)s AND a.id < %(attempt)s AND a.outcome = 'accepted' AND a.code IS NOT NULL
     ORDER BY a.id DESC LIMIT 1)
    UNION ALL
    (SELECT a.message_id, a.reserved_at, false FROM attempt a
     WHERE a.mailbox_id = %(mailbox)s AND a.id > %(attempt)s AND a.outcome = 'accepted' AND a.code IS NOT NULL
       AND a.settled_at < clock_timestamp() - %(filed_after)s::interval
     ORDER BY a.id LIMIT 1)
) AS n JOIN message m ON m.id = n.message_id
WHERE n.reserved_at > own.filed_at

-- name: remember
-- Keeps what a look at one attempt left, and drops what was kept of those that are settled.
-- Callers: reconcile. Index: setting_pkey, attempt_pkey. Rows: 1.
INSERT INTO setting AS k (name, value)
VALUES ('errands/' || %(mailbox)s::bigint,
        jsonb_build_object('letters', jsonb_build_object(%(attempt)s::bigint::text, %(memory)s::jsonb)))
ON CONFLICT (name) DO UPDATE SET value = k.value || jsonb_build_object('letters', (
    SELECT coalesce(jsonb_object_agg(l.key, l.value), '{}')
    FROM jsonb_each(coalesce(k.value -> 'letters', '{}')) AS l JOIN attempt a ON a.id = l.key::bigint
    WHERE a.outcome = 'ambiguous'
) || (EXCLUDED.value -> 'letters'))

-- name: tell
-- What a person reads about the letter: why it is ambiguous, then what was looked for since.
-- Callers: reconcile. Index: message_pkey.
UPDATE message SET reason = split_part(reason, %(mark)s, 1) || %(mark)s || %(told)s
WHERE id = %(message)s AND state = 'ambiguous'

-- name: resting
-- Callers: due_errands. Index: setting_pkey. Rows: mailboxes whose Sent folder lately failed.
SELECT w.id FROM unnest(%(mailboxes)s::bigint[]) AS w (id)
JOIN setting k ON k.name = 'errands/' || w.id
WHERE (k.value ->> 'rest_until')::timestamptz > clock_timestamp()

-- name: rest
-- Callers: run_errands. Index: setting_pkey. Rows: 1.
INSERT INTO setting AS k (name, value)
VALUES ('errands/' || %(mailbox)s::bigint, jsonb_build_object('rest_until', clock_timestamp() + %(rest)s::interval))
ON CONFLICT (name) DO UPDATE SET value = k.value || EXCLUDED.value

-- name: copies_waiting
-- Callers: copies_due. Index: sent_copy by mailbox. Rows: mailboxes with copies to file.
SELECT DISTINCT mailbox_id FROM sent_copy WHERE mailbox_id = ANY(%(mailboxes)s)

-- name: note_filing
-- From now on what was accepted until now proves nothing of what the provider files: its copy may be ours.
-- Callers: file_copies, before the first. Index: mailbox_pkey, setting_pkey. Rows: 1.
INSERT INTO setting AS k (name, value)
SELECT 'sent_copy/' || o.provider_id, jsonb_build_object('filed_at', clock_timestamp())
FROM mailbox b JOIN account o ON o.id = b.account_id WHERE b.id = %(mailbox)s
ON CONFLICT (name) DO UPDATE SET value = k.value || EXCLUDED.value

-- name: probes
-- For mailboxes of providers of whom it is not known who files the copies: the newest letter that a look may tell of. None
-- where a look was lately, or where looks enough did not agree; few of each provider at once, those that wrote last.
-- Callers: probes_due, probe. Index: mailbox_pkey, attempt_of_mailbox. Rows: at most `at_once` a provider.
SELECT * FROM (
    SELECT b.id AS mailbox_id, p.id AS provider_id, l.*,
           row_number() OVER (PARTITION BY p.id ORDER BY l.settled_at DESC, b.id) AS turn
    FROM mailbox b
    JOIN account o ON o.id = b.account_id
    JOIN provider p ON p.id = o.provider_id AND p.sent_copy IN ('unknown', 'server_setting')
    LEFT JOIN setting k ON k.name = 'sent_copy/' || p.id
    CROSS JOIN LATERAL (
        SELECT m.id AS message_id, m.header_id, m.subject, c.address, a.reserved_at, a.settled_at
        FROM (SELECT * FROM attempt WHERE mailbox_id = b.id ORDER BY id DESC LIMIT 20) AS a
        JOIN message m ON m.id = a.message_id
        JOIN contact c ON c.id = m.contact_id AND c.erased_at IS NULL
        WHERE a.outcome = 'accepted' AND a.code IS NOT NULL
          AND a.settled_at BETWEEN clock_timestamp() - interval '1 day' AND clock_timestamp() - %(filed_after)s::interval
          AND a.reserved_at > coalesce((k.value ->> 'filed_at')::timestamptz, '-infinity')
        ORDER BY a.id DESC LIMIT 1
    ) AS l
    WHERE b.id = ANY(%(mailboxes)s) AND b.retired_at IS NULL
      AND jsonb_array_length(coalesce(k.value -> 'looks', '[]')) < %(most)s
      AND NOT EXISTS (
          SELECT 1 FROM jsonb_array_elements(k.value -> 'looks') AS x
          WHERE (x ->> 'mailbox')::bigint = b.id
            AND ((x ->> 'message')::bigint = l.message_id
                 OR (x ->> 'at')::timestamptz > clock_timestamp() - %(every)s::interval))
) AS found WHERE turn <= %(at_once)s

-- name: note_probe
-- `mailboxes`: how many of the provider's can be read.
-- Callers: probe. Index: setting_pkey. Rows: 1. Locks: the provider's row of what was seen.
INSERT INTO setting AS k (name, value)
VALUES ('sent_copy/' || %(provider)s::bigint, jsonb_build_object('looks', jsonb_build_array(jsonb_build_object(
    'mailbox', %(mailbox)s::bigint, 'message', %(message)s::bigint, 'seen', %(seen)s::boolean, 'at', clock_timestamp()))))
ON CONFLICT (name) DO UPDATE SET value = k.value || jsonb_build_object(
    'looks', coalesce(k.value -> 'looks', '[]') || (EXCLUDED.value -> 'looks'))
RETURNING value -> 'looks' AS looks, (
    SELECT count(*) FROM mailbox b JOIN account o ON o.id = b.account_id
    WHERE o.provider_id = %(provider)s::bigint AND b.retired_at IS NULL AND b.imap_host <> '') AS mailboxes

-- name: note_learned
-- Callers: probe. Index: setting_pkey. Rows: 1.
UPDATE setting SET value = value || jsonb_build_object('learned', jsonb_build_object(
    'sent_copy', %(learned)s::text, 'at', clock_timestamp(), 'because', %(because)s::text))
WHERE name = 'sent_copy/' || %(provider)s::bigint

-- name: learn
-- What was learned becomes what is known of a provider, unless somebody says it; again after `apply` wrote the preset's
-- word, which it does not know better. Callers: probes_due, probe. Rows: the providers.
UPDATE provider p SET sent_copy = k.value -> 'learned' ->> 'sent_copy'
FROM setting k
WHERE k.name = 'sent_copy/' || p.id AND k.value ? 'learned' AND p.sent_copy IN ('unknown', 'server_setting')
