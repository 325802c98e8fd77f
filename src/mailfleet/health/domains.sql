-- Who serves the domains that we write to.

-- name: unknown_domains
-- Domains of letters that are queued or were counted lately, and whose servers nobody has looked up, or not for long; those
-- of queued letters first. Callers: Domains. Index: message_due, counted_letter_at, recipient_domain_pkey.
-- Rows: at most `most`; it reads the horizon, and the letters of an hour.
WITH wanted AS (
    SELECT c.domain, 1 AS turn FROM message m JOIN contact c ON c.id = m.contact_id
    WHERE m.state = 'queued' AND m.due_at IS NOT NULL
    UNION ALL
    SELECT c.domain, 2 FROM counted_letter k JOIN message m ON m.id = k.message_id JOIN contact c ON c.id = m.contact_id
    WHERE k.recipient_provider = '' AND k.at > %(lately)s
)
SELECT w.domain FROM wanted w LEFT JOIN recipient_domain r ON r.name = w.domain
WHERE r.name IS NULL
   OR r.looked_up_at < clock_timestamp() - CASE WHEN r.provider = '' THEN %(unknown_for)s::interval
                                                ELSE %(known_for)s::interval END
GROUP BY w.domain ORDER BY min(w.turn), w.domain LIMIT %(most)s

-- name: keep_providers
-- A look-up that failed leaves what was known. Letters that were counted since the look-up before get the name too; they
-- are found by their letters, for a big receiver has most contacts.
-- Callers: Domains. Index: recipient_domain_pkey, counted_letter_at, message_pkey, contact_pkey. Rows: letters of `since`.
WITH found AS (
    SELECT * FROM unnest(%(names)s::text[], %(providers)s::text[]) AS f (name, provider)
), kept AS (
    INSERT INTO recipient_domain AS r (name, provider, looked_up_at) SELECT name, provider, clock_timestamp() FROM found
    ON CONFLICT (name) DO UPDATE
    SET provider = coalesce(nullif(EXCLUDED.provider, ''), r.provider), looked_up_at = EXCLUDED.looked_up_at
), nameless AS MATERIALIZED (
    SELECT k.message_id, c.domain FROM counted_letter k
    JOIN message m ON m.id = k.message_id JOIN contact c ON c.id = m.contact_id
    WHERE k.recipient_provider = '' AND k.at > %(since)s
)
UPDATE counted_letter k SET recipient_provider = found.provider
FROM nameless n JOIN found ON found.name = n.domain
WHERE found.provider <> '' AND k.message_id = n.message_id AND k.recipient_provider = ''
