-- The letters that rates are counted from: one row a letter that a server judged, kept as long as the longest window.

-- name: count_letters
-- Letters whose latest word is not counted yet, each at the moment it was reserved: what was refused for good, what was
-- accepted, and what was put off by policy. `only_blocked`: those refused by policy alone, which come first: a letter that
-- was blocked and then accepted stays blocked, unless a hold for it, on a scope of its own, ended in between: then it is a
-- letter of the trial.
-- Callers: Counting, each tick. Index: attempt_reserved, counted_letter_pkey, list_member_once, hold_ended. Rows: letters
-- of `since`.
WITH meaning AS (
    SELECT * FROM unnest(%(classes)s::text[], %(scopes)s::text[], %(temporary)s::boolean[], %(families)s::text[])
        AS m (reply_class, reply_scope, is_temporary, family)
), judged AS (
    SELECT DISTINCT ON (a.message_id) a.message_id, a.reserved_at AS at, a.mailbox_id,
           coalesce(f.family = 'bounces', false) AS bounced, coalesce(f.family = 'policy', false) AS blocked
    FROM attempt a
    LEFT JOIN meaning f ON f.reply_class = a.reply_class AND f.reply_scope = a.reply_scope
        AND f.is_temporary = (a.outcome = 'deferred')
    WHERE a.reserved_at > %(since)s
      AND (f.family = 'policy' OR (NOT %(only_blocked)s AND (a.outcome = 'accepted'
                                                            OR (a.outcome = 'rejected' AND a.code IS NOT NULL))))
    ORDER BY a.message_id, a.number DESC
), new AS (
    SELECT j.message_id, j.at, j.mailbox_id, m.campaign_id, j.bounced, j.blocked, c.domain,
           (SELECT array_agg(lm.contact_list_id) FROM list_member lm
            JOIN campaign_list cl ON cl.contactlist_id = lm.contact_list_id AND cl.campaign_id = m.campaign_id
            WHERE lm.contact_id = m.contact_id) AS lists
    FROM judged j
    JOIN message m ON m.id = j.message_id
    JOIN contact c ON c.id = m.contact_id
    WHERE NOT EXISTS (SELECT FROM counted_letter k WHERE k.message_id = j.message_id AND k.at >= j.at)
), size AS MATERIALIZED (
    SELECT contact_list_id AS id, count(*) AS members FROM list_member
    WHERE contact_list_id IN (SELECT unnest(lists) FROM new WHERE cardinality(lists) > 1)
    GROUP BY contact_list_id
)
INSERT INTO counted_letter AS k (message_id, at, mailbox_id, campaign_id, list_id, recipient_provider, bounced, blocked)
SELECT n.message_id, n.at, n.mailbox_id, n.campaign_id,
       CASE WHEN cardinality(n.lists) > 1
            THEN (SELECT id FROM size WHERE id = ANY(n.lists) ORDER BY members, id LIMIT 1)
            ELSE coalesce(n.lists[1], 0) END,
       coalesce(r.provider, ''), n.bounced, n.blocked
FROM new n LEFT JOIN recipient_domain r ON r.name = n.domain
ON CONFLICT (message_id) DO UPDATE
SET at = EXCLUDED.at, mailbox_id = EXCLUDED.mailbox_id, bounced = EXCLUDED.bounced, blocked = EXCLUDED.blocked
WHERE k.at < EXCLUDED.at
  AND (EXCLUDED.blocked OR NOT k.blocked
       OR EXISTS (
           SELECT FROM hold h, mailbox b JOIN domain d ON d.id = b.domain_id JOIN account a ON a.id = b.account_id
           WHERE b.id = EXCLUDED.mailbox_id AND h.family = 'policy' AND h.absorbed_into_id IS NULL
             AND LEAST(h.lifted_at, h.until) > k.at AND LEAST(h.lifted_at, h.until) <= EXCLUDED.at
             AND (h.scope_kind, h.scope_key) IN (
                 ('mailbox', b.id::text), ('domain', d.id::text), ('account', a.id::text),
                 ('provider', a.provider_id::text), ('identity', d.identity_id::text),
                 ('campaign', EXCLUDED.campaign_id::text), ('recipient_provider', EXCLUDED.recipient_provider))))

-- name: flag_letters
-- What was learned afterwards, on the letter's own row. Events are looked at again: many are committed side by side. What
-- was learned of a letter is younger than it.
-- Callers: Counting, each tick. Index: event_at, counted_letter_pkey. Rows: events of `since`.
WITH meaning AS (
    SELECT * FROM unnest(%(classes)s::text[], %(scopes)s::text[], %(temporary)s::boolean[], %(families)s::text[])
        AS m (reply_class, reply_scope, is_temporary, family)
), learned AS (
    SELECT e.message_id, bool_or(e.kind = 'bounce' AND e.is_hard) AS bounced,
           bool_or(e.kind = 'bounce' AND f.family IS NOT DISTINCT FROM 'policy') AS blocked,
           bool_or(e.kind = 'complaint') AS complained
    FROM event e
    LEFT JOIN meaning f ON f.reply_class = e.reply_class AND f.reply_scope = e.reply_scope AND NOT f.is_temporary
    WHERE e.at > %(since)s AND e.kind IN ('bounce', 'complaint')
    GROUP BY e.message_id
)
UPDATE counted_letter k
SET bounced = k.bounced OR l.bounced, blocked = k.blocked OR l.blocked, complained = k.complained OR l.complained
FROM learned l
WHERE k.message_id = l.message_id
  AND ((l.bounced AND NOT k.bounced) OR (l.blocked AND NOT k.blocked) OR (l.complained AND NOT k.complained))

-- name: forget_letters
-- Callers: Counting, now and then. Index: counted_letter_at. Rows: an hour's letters.
DELETE FROM counted_letter WHERE at < %(before)s
