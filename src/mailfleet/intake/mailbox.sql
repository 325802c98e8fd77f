-- The mailboxes of the fleet, as an import reads and writes them.

-- name: mailboxes
-- Callers: load_mailboxes, which opens the secrets. Rows: the fleet.
SELECT b.address, b.display_name, b.signature, b.reply_to, p.name AS provider, a.name AS account, i.name AS identity,
       b.smtp_host, b.smtp_port, b.smtp_security, b.imap_host, b.imap_port, b.imap_security, b.ca_file, b.auth, b.login,
       b.secret, b.imap_login, b.imap_secret, b.daily_limit, b.pace_seconds, b.tags
FROM mailbox b
JOIN domain d ON d.id = b.domain_id
JOIN identity i ON i.id = d.identity_id
JOIN account a ON a.id = b.account_id
JOIN provider p ON p.id = a.provider_id
ORDER BY b.id

-- name: write_mailboxes
-- New ones are made, known ones overwritten; each has its lease and its ramp from the first moment.
-- Callers: save_mailboxes, in its transaction. Index: mailbox_address_key. Rows: the rows of a file that are saved.
WITH want AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb) AS w (
        address text, display_name text, signature text, reply_to text, domain text, provider text, account text,
        smtp_host text, smtp_port integer, smtp_security text, imap_host text, imap_port integer, imap_security text,
        ca_file text, auth text, login text, secret text, imap_login text, imap_secret text, daily_limit integer,
        pace_seconds integer, tags text[], position bigint)
), written AS (
    INSERT INTO mailbox (address, display_name, signature, reply_to, domain_id, account_id, smtp_host, smtp_port,
        smtp_security, imap_host, imap_port, imap_security, ca_file, auth, login, secret, imap_login, imap_secret,
        daily_limit, pace_seconds, tags)
    SELECT w.address, w.display_name, w.signature, w.reply_to, d.id, a.id, w.smtp_host, w.smtp_port, w.smtp_security,
           w.imap_host, w.imap_port, w.imap_security, w.ca_file, w.auth, w.login, convert_to(w.secret, 'UTF8'),
           w.imap_login, convert_to(w.imap_secret, 'UTF8'), w.daily_limit, w.pace_seconds, w.tags
    FROM want w
    JOIN domain d ON d.name = w.domain
    JOIN provider p ON p.name = w.provider
    JOIN account a ON a.provider_id = p.id AND a.name = w.account
    ORDER BY w.position
    ON CONFLICT (address) DO UPDATE SET display_name = EXCLUDED.display_name, signature = EXCLUDED.signature,
        reply_to = EXCLUDED.reply_to, account_id = EXCLUDED.account_id, smtp_host = EXCLUDED.smtp_host,
        smtp_port = EXCLUDED.smtp_port, smtp_security = EXCLUDED.smtp_security, imap_host = EXCLUDED.imap_host,
        imap_port = EXCLUDED.imap_port, imap_security = EXCLUDED.imap_security, ca_file = EXCLUDED.ca_file,
        auth = EXCLUDED.auth, login = EXCLUDED.login, secret = EXCLUDED.secret, imap_login = EXCLUDED.imap_login,
        imap_secret = EXCLUDED.imap_secret, daily_limit = EXCLUDED.daily_limit, pace_seconds = EXCLUDED.pace_seconds,
        tags = EXCLUDED.tags
    RETURNING id
), leased AS (
    INSERT INTO lease (mailbox_id) SELECT id FROM written ON CONFLICT DO NOTHING
), ramped AS (
    INSERT INTO ramp (mailbox_id) SELECT id FROM written ON CONFLICT DO NOTHING
)
SELECT count(*) AS written FROM written
