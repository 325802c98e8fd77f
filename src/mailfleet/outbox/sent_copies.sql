-- Letters as they left, until their copy lies in the Sent folder.

-- name: keep
-- Only of letters whose acceptance is a fact, and only where a mailbox can be read; none to an erased person: an erasure
-- waits for what is kept here, and is waited for. Callers: SentCopies.keep, after settle.
-- Index: attempt_pkey, mailbox_pkey, message_pkey, contact_pkey. Rows: the letters of a settled batch whose copy is ours to
-- file. Locks: their contacts' keys, which an erasure alone changes.
INSERT INTO sent_copy (message_id, mailbox_id, content)
SELECT a.message_id, a.mailbox_id, w.content
FROM unnest(%(attempts)s::bigint[], %(contents)s::bytea[]) AS w (attempt_id, content)
JOIN attempt a ON a.id = w.attempt_id AND a.outcome = 'accepted'
JOIN mailbox b ON b.id = a.mailbox_id AND b.imap_host <> ''
JOIN message m ON m.id = a.message_id
JOIN contact c ON c.id = m.contact_id AND c.erased_at IS NULL
FOR KEY SHARE OF c
ON CONFLICT DO NOTHING

-- name: waiting
-- Callers: waiting. Index: sent_copy by mailbox, message_pkey. Rows: at most `most`, the longest-waiting first.
SELECT c.message_id, c.mailbox_id, c.content, c.sent_at, c.tries, m.header_id
FROM sent_copy c JOIN message m ON m.id = c.message_id
WHERE c.mailbox_id = ANY(%(mailboxes)s)
ORDER BY c.sent_at, c.message_id
LIMIT %(most)s

-- name: done
-- Callers: done. Index: sent_copy_pkey. Rows: 1.
DELETE FROM sent_copy WHERE message_id = %(message)s

-- name: failed
-- Counts a try; the last one gives the copy up. Callers: failed. Index: sent_copy_pkey. Rows: 1.
WITH tried AS (
    UPDATE sent_copy SET tries = tries + 1 WHERE message_id = %(message)s AND tries + 1 < %(most)s
)
DELETE FROM sent_copy WHERE message_id = %(message)s AND tries + 1 >= %(most)s
