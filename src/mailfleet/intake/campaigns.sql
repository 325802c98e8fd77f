-- Campaigns as their files describe them, and what steers them. Nothing here is on the hot path.

-- name: known_names
-- All that a campaign file can name, by kind. Callers: check_names. Rows: one a kind.
SELECT 'identity' AS kind, array(SELECT name FROM identity ORDER BY name) AS names
UNION ALL SELECT 'list', array(SELECT name FROM contact_list ORDER BY name)
UNION ALL SELECT 'pool', array(SELECT name FROM pool ORDER BY name)
UNION ALL SELECT 'tags', array(SELECT DISTINCT unnest(tags) FROM mailbox WHERE retired_at IS NULL ORDER BY 1)
UNION ALL SELECT 'domains', array(SELECT name FROM domain ORDER BY name)
UNION ALL SELECT 'providers', array(SELECT name FROM provider ORDER BY name)
UNION ALL SELECT 'accounts', array(SELECT p.name || '/' || a.name FROM account a JOIN provider p ON p.id = a.provider_id
                                   ORDER BY 1)
UNION ALL SELECT 'mailboxes', array(SELECT address FROM mailbox WHERE retired_at IS NULL ORDER BY address)

-- name: lock_planner
-- Waits for the planning run under way; none begins before this transaction ends, so no letter of a step is planned
-- while that step goes.
-- Callers: save_campaign. Locks: advisory, exclusive, to the end of the transaction.
SELECT pg_advisory_xact_lock(%(planner_lock)s)

-- name: lock_campaign
-- Callers: save_campaign. Index: campaign_name_key. Locks: the campaign's row.
SELECT id FROM campaign WHERE name = %(name)s FOR UPDATE

-- name: campaign
-- Callers: find_stored. Index: campaign_name_key.
SELECT g.id, g.name, g.state, g.reason, i.name AS identity, g.language, g.pool, g."window", g.zone, g.fallback_zone,
       g.priority, g.openings_share, g.reply_stops,
       array(SELECT l.name FROM campaign_list cl JOIN contact_list l ON l.id = cl.contactlist_id
             WHERE cl.campaign_id = g.id ORDER BY cl.id) AS lists
FROM campaign g JOIN identity i ON i.id = g.identity_id
WHERE g.name = %(name)s

-- name: names
SELECT name FROM campaign ORDER BY name

-- name: wordings
-- The variants that are drawn; those of weight 0 went from the file after a letter of theirs.
-- Callers: find_stored. Rows: tens.
SELECT s.number, s.wait, v.name, v.weight, v.subject, v.text, v.html
FROM step s JOIN variant v ON v.step_id = s.id
WHERE s.campaign_id = %(campaign)s AND v.weight > 0
ORDER BY s.number, v.id

-- name: insert_campaign
INSERT INTO campaign (name, identity_id, language, pool, "window", zone, fallback_zone, priority, openings_share,
                      reply_stops)
SELECT %(name)s, i.id, %(language)s, %(pool)s::jsonb, %(window)s::jsonb, %(zone)s, %(fallback_zone)s, %(priority)s,
       %(openings_share)s, %(reply_stops)s
FROM identity i WHERE i.name = %(identity)s
RETURNING id

-- name: update_campaign
UPDATE campaign SET identity_id = i.id, language = %(language)s, pool = %(pool)s::jsonb, "window" = %(window)s::jsonb,
    zone = %(zone)s, fallback_zone = %(fallback_zone)s, priority = %(priority)s, openings_share = %(openings_share)s,
    reply_stops = %(reply_stops)s
FROM identity i WHERE campaign.name = %(name)s AND i.name = %(identity)s

-- name: drop_lists
DELETE FROM campaign_list cl USING contact_list l
WHERE cl.campaign_id = %(campaign)s AND l.id = cl.contactlist_id AND l.name <> ALL(%(lists)s)

-- name: write_lists
INSERT INTO campaign_list (campaign_id, contactlist_id)
SELECT %(campaign)s, l.id FROM contact_list l JOIN unnest(%(lists)s::text[]) WITH ORDINALITY AS w (name, place)
    ON w.name = l.name
ORDER BY w.place
ON CONFLICT DO NOTHING

-- name: write_step
INSERT INTO step (campaign_id, number, wait) VALUES (%(campaign)s, %(number)s, %(wait)s)
ON CONFLICT (campaign_id, number) DO UPDATE SET wait = EXCLUDED.wait
RETURNING id

-- name: write_variant
INSERT INTO variant (step_id, name, weight, subject, text, html)
VALUES (%(step)s, %(name)s, %(weight)s, %(subject)s, %(text)s, %(html)s)
ON CONFLICT (step_id, name) DO UPDATE SET weight = EXCLUDED.weight, subject = EXCLUDED.subject, text = EXCLUDED.text,
    html = EXCLUDED.html

-- name: drop_variants
-- Variants that the file leaves out go; one of which there is a letter stays, and is drawn no more.
-- Callers: save_campaign. Index: message_of_campaign. Rows: tens.
WITH gone AS (
    SELECT v.id, EXISTS (SELECT 1 FROM message m WHERE m.campaign_id = %(campaign)s AND m.variant_id = v.id) AS is_used
    FROM variant v WHERE v.step_id = %(step)s AND v.name <> ALL(%(names)s)
), retired AS (
    UPDATE variant SET weight = 0 FROM gone WHERE variant.id = gone.id AND gone.is_used
)
DELETE FROM variant USING gone WHERE variant.id = gone.id AND NOT gone.is_used

-- name: used_steps
-- The steps of which there is a letter, in any state. Callers: save_campaign. Index: message_of_campaign.
SELECT s.number FROM step s
WHERE s.campaign_id = %(campaign)s
  AND EXISTS (SELECT 1 FROM message m WHERE m.campaign_id = %(campaign)s AND m.step_id = s.id)
ORDER BY s.number

-- name: drop_steps
WITH gone AS (DELETE FROM variant v USING step s
              WHERE s.id = v.step_id AND s.campaign_id = %(campaign)s AND s.number > %(last)s)
DELETE FROM step WHERE campaign_id = %(campaign)s AND number > %(last)s

-- name: finish_enrollments
-- Contacts that waited for a step that went have had every letter. Callers: save_campaign. Index: enrollment_ready.
UPDATE enrollment SET state = 'finished', next_at = NULL, reason_code = 'all_steps_sent',
    reason = 'every step was accepted', reason_at = clock_timestamp()
WHERE campaign_id = %(campaign)s AND state = 'active' AND next_step > %(last)s

-- name: identity
-- Callers: plan_launch. Index: identity_name_key.
SELECT name, legal_name, postal_address, opt_out_base_url FROM identity WHERE name = %(name)s

-- name: pool_rule
SELECT rule FROM pool WHERE name = %(name)s

-- name: mailboxes
-- What an identity writes from, as the planner sees it. Callers: load_mailboxes. Rows: the identity's fleet.
SELECT b.id, b.address, b.display_name, b.signature, b.reply_to, b.daily_limit, b.tags, b.domain_id, b.account_id,
       a.provider_id, d.identity_id, d.name AS domain, a.name AS account, p.name AS provider, p.outreach_policy,
       p.policy_source, p.policy_acknowledgement, i.name AS identity_name, i.legal_name, i.postal_address,
       i.contact_email, i.website
FROM mailbox b
JOIN domain d ON d.id = b.domain_id
JOIN identity i ON i.id = d.identity_id
JOIN account a ON a.id = b.account_id
JOIN provider p ON p.id = a.provider_id
JOIN lease l ON l.mailbox_id = b.id
JOIN ramp r ON r.mailbox_id = b.id
WHERE i.name = %(identity)s AND b.retired_at IS NULL
ORDER BY b.id

-- name: daily_limits
-- Limits over a day; those of the ramps change with each day. Callers: plan_launch.
SELECT scope_kind, scope_key, maximum FROM sending_limit
WHERE source NOT IN ('ramp', 'half_open') AND (window_kind = 'calendar' OR window_seconds = 86400)

-- name: audience
-- The contacts of lists, counted. Callers: plan_launch. Index: list_member_once, suppression_pkey, enrollment_once.
SELECT count(*) AS contacts,
       count(*) FILTER (WHERE f.is_suppressed) AS suppressed,
       count(*) FILTER (WHERE NOT f.is_suppressed AND f.has_no_basis) AS no_basis,
       count(*) FILTER (WHERE f.is_enrolled) AS enrolled,
       count(*) FILTER (WHERE NOT f.is_suppressed AND NOT f.has_no_basis AND NOT f.is_enrolled) AS eligible
FROM (
    SELECT s.digest IS NOT NULL AS is_suppressed, c.lawful_basis = 'none' AS has_no_basis, e.id IS NOT NULL AS is_enrolled
    FROM (SELECT DISTINCT m.contact_id FROM list_member m JOIN contact_list l ON l.id = m.contact_list_id
          WHERE l.name = ANY(%(lists)s)) AS listed
    JOIN contact c ON c.id = listed.contact_id
    LEFT JOIN enrollment e ON e.campaign_id = %(campaign)s AND e.contact_id = c.id
    LEFT JOIN LATERAL (SELECT digest FROM suppression WHERE digest = ANY(c.digests) LIMIT 1) AS s ON true
) AS f

-- name: enroll
-- Every contact of the campaign's lists who may be written to and is not enrolled yet; all are ready at once, the
-- planner paces them. Whoever is away, or asked something that nobody has read yet, is paused here as elsewhere. A
-- suppression committed meanwhile is met at the reservation, the last gate.
-- Callers: launch. Index: list_member_once, suppression_pkey, enrollment_once, enrollment and incoming by contact.
-- Rows: the lists.
INSERT INTO enrollment (campaign_id, contact_id, next_at, paused_until, reason_code, reason)
SELECT %(campaign)s, c.id, statement_timestamp(), p.until, coalesce(p.code, ''), coalesce(p.reason, '')
FROM (SELECT DISTINCT m.contact_id FROM list_member m JOIN campaign_list cl ON cl.contactlist_id = m.contact_list_id
      WHERE cl.campaign_id = %(campaign)s) AS listed
JOIN contact c ON c.id = listed.contact_id
LEFT JOIN LATERAL (
    SELECT * FROM (
        SELECT e.paused_until AS until, e.reason_code AS code, e.reason FROM enrollment e
        WHERE e.contact_id = c.id AND e.state = 'active' AND e.paused_until > statement_timestamp()
        UNION ALL
        SELECT %(until_decided)s::timestamptz, 'question', 'waits for a person: ' || i.question FROM incoming i
        WHERE i.contact_id = c.id AND i.question <> '' AND i.decided_at IS NULL
    ) AS every ORDER BY until DESC LIMIT 1
) AS p ON true
WHERE c.lawful_basis <> 'none' AND NOT EXISTS (SELECT 1 FROM suppression s WHERE s.digest = ANY(c.digests))
ORDER BY c.id
ON CONFLICT (campaign_id, contact_id) DO NOTHING

-- name: check_enrolled
-- Looks up what a million new rows refer to before the stop lock is taken, not at the commit, under it.
-- Callers: launch.
SET CONSTRAINTS ALL IMMEDIATE

-- name: pause_asked
-- Pauses whoever asked something while `enroll` ran, which could not see that mail, nor its reading these enrollments.
-- Callers: launch, under the stop lock. Index: incoming_asked, enrollment_once. Rows: the open questions.
UPDATE enrollment e SET paused_until = %(until_decided)s, reason_code = 'question',
    reason = 'waits for a person: ' || i.question, reason_at = clock_timestamp()
FROM incoming i
WHERE i.decided_at IS NULL AND i.question <> ''
  AND e.contact_id = i.contact_id AND e.campaign_id = %(campaign)s AND e.state = 'active'
  AND e.paused_until IS DISTINCT FROM %(until_decided)s

-- name: end_enrollments
-- What a stopped campaign still has under way ends; the planner cancels the letters that wait. A row that a settlement
-- holds is passed over, so that the two never wait in a circle.
-- Callers: stop. Index: enrollment_once. Rows: the active.
WITH mine AS (
    SELECT id FROM enrollment WHERE campaign_id = %(campaign)s AND state = 'active' FOR UPDATE SKIP LOCKED
)
UPDATE enrollment e SET state = 'stopped', next_at = NULL, reason_code = 'campaign_stopped', reason = %(reason)s,
    reason_at = clock_timestamp()
FROM mine WHERE e.id = mine.id

-- name: active_enrollments
-- Callers: stop, for those passed over. Index: enrollment_once.
SELECT id FROM enrollment WHERE campaign_id = %(campaign)s AND state = 'active'

-- name: end_enrollment
UPDATE enrollment SET state = 'stopped', next_at = NULL, reason_code = 'campaign_stopped', reason = %(reason)s,
    reason_at = clock_timestamp()
WHERE id = %(enrollment)s AND state = 'active'

-- name: contacts
-- The contacts of lists, with all that a letter needs. Callers: check_letters, by a server's cursor. Rows: the lists.
SELECT c.id, c.address, c.first_name, c.last_name, c.company, c.title, c.country, c.time_zone, c.attributes,
       c.lawful_basis, c.mailbox_id, EXISTS (SELECT 1 FROM suppression s WHERE s.digest = ANY(c.digests)) AS is_suppressed
FROM contact c
WHERE c.id IN (SELECT m.contact_id FROM list_member m JOIN contact_list l ON l.id = m.contact_list_id
               WHERE l.name = ANY(%(lists)s))
ORDER BY c.id

-- name: contact
-- The same for one. Callers: preview. Index: contact_address_unique.
SELECT c.id, c.address, c.first_name, c.last_name, c.company, c.title, c.country, c.time_zone, c.attributes,
       c.lawful_basis, c.mailbox_id, EXISTS (SELECT 1 FROM suppression s WHERE s.digest = ANY(c.digests)) AS is_suppressed
FROM contact c WHERE c.address_key = %(address)s

-- name: thread
-- The letters of a campaign that a contact has had before a step. Callers: preview. Index: enrollment_once.
SELECT m.header_id, m.subject
FROM campaign g
JOIN enrollment e ON e.campaign_id = g.id AND e.contact_id = %(contact)s
JOIN message m ON m.enrollment_id = e.id AND m.state = 'accepted'
JOIN step s ON s.id = m.step_id AND s.number < %(step)s
WHERE g.name = %(campaign)s
ORDER BY s.number

-- name: overview
-- Callers: list_campaigns. Rows: the campaigns.
SELECT g.id, g.name, g.state, g.reason, i.name AS identity,
       (SELECT count(*) FROM enrollment e WHERE e.campaign_id = g.id) AS enrolled,
       (SELECT count(*) FROM enrollment e WHERE e.campaign_id = g.id AND e.state = 'finished') AS finished
FROM campaign g JOIN identity i ON i.id = g.identity_id ORDER BY g.id

-- name: step_counts
-- Where the enrollments of each step stand, and the letters it has sent. Callers: list_campaigns. Rows: the steps.
SELECT s.campaign_id, s.number, coalesce(sent.letters, 0) AS sent, coalesce(at.queued, 0) AS queued,
       coalesce(at.waiting, 0) AS waiting, coalesce(at.ended, 0) AS ended
FROM step s
LEFT JOIN (SELECT step_id, count(*) AS letters FROM message WHERE state = 'accepted' GROUP BY step_id) AS sent
    ON sent.step_id = s.id
LEFT JOIN (
    SELECT campaign_id, next_step, count(*) FILTER (WHERE state = 'active' AND next_at IS NULL) AS queued,
           count(*) FILTER (WHERE state = 'active' AND next_at IS NOT NULL) AS waiting,
           count(*) FILTER (WHERE state = 'stopped') AS ended
    FROM enrollment GROUP BY campaign_id, next_step
) AS at ON at.campaign_id = s.campaign_id AND at.next_step = s.number
ORDER BY s.campaign_id, s.number

-- name: standings
-- Each contact of a campaign: the enrolled in their order, then those of its lists who are not enrolled, with the reason.
-- Callers: read_standings, by a server's cursor. Rows: the lists.
SELECT * FROM (
    SELECT c.address, e.state, e.next_step, e.next_at, e.reason_code AS code, e.reason, 0 AS kind, e.id
    FROM enrollment e JOIN contact c ON c.id = e.contact_id
    WHERE e.campaign_id = %(campaign)s
    UNION ALL
    SELECT f.address, 'not enrolled', NULL, NULL, f.code,
           CASE f.code WHEN 'suppressed' THEN 'must never be written to'
                       WHEN 'no_lawful_basis' THEN 'has no lawful basis'
                       ELSE 'is enrolled at the next start or resume' END, 1, f.id
    FROM (
        SELECT c.id, c.address, CASE
            WHEN EXISTS (SELECT 1 FROM suppression s WHERE s.digest = ANY(c.digests)) THEN 'suppressed'
            WHEN c.lawful_basis = 'none' THEN 'no_lawful_basis' ELSE 'not_enrolled' END AS code
        FROM contact c
        WHERE c.id IN (SELECT m.contact_id FROM list_member m
                       JOIN campaign_list cl ON cl.contactlist_id = m.contact_list_id
                       WHERE cl.campaign_id = %(campaign)s)
          AND NOT EXISTS (SELECT 1 FROM enrollment e WHERE e.campaign_id = %(campaign)s AND e.contact_id = c.id)
    ) AS f
) AS found
WHERE %(code)s::text IS NULL OR code = %(code)s
ORDER BY kind, id
