"""Hostile inputs: (target, bytes). Some were written for what they attack; what fuzzing finds joins them and stays, so
that its fault does not come back.
"""

_NESTED = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (depth, depth) for depth in range(60))

FOUND: tuple[tuple[str, bytes], ...] = (
    ("mail", _NESTED),
    ("mail", b"Content-Type: text/plain; charset=unicode_escape\n\n\\N{SNOWMAN \\U99999999"),
    ("mail", b"Content-Type: text/plain; charset=idna\n\n" + b"xn--a." * 500),
    ("mail", b"Content-Type: text/plain; charset=zlib\nContent-Transfer-Encoding: base64\n\neJw="),
    ("mail", b"Subject: =?utf-16?b?2AA=?= =?rot13?q?x?= =?utf-8?b?" + b"A" * 999 + b"?=\n\nx"),
    ("mail", b"Date: Thu, 99999999999 Jan 99999999999 99:99:99 +99999999\nReferences: " + b"<a@b> " * 2000 + b"\n\n"),
    ("mail", b"From: " + b'"' * 3000 + b"\nTo: " + b"(" * 3000 + b"\n\n"),
    ("mail", b"Content-Type: text/html\n\n" + b"<table><tr><td>" * 900),
    ("reports", b'Subject: x\n\n{"notificationType":"Bounce","bounce":' + b"[" * 3000),
    ("reports", b'{"Message":"{\\"eventType\\":\\"Bounce\\",\\"bounce\\":[1],\\"mail\\":7}"}'),
    (
        "reports",
        b"From: mailer-daemon@c.example\nContent-Type: message/delivery-status\n\n"
        + b"Final-Recipient: rfc822; a\\x{FFFFFF}@b.example\nStatus: 5.\xc2\xb2.1\nAction: failed\n\n" * 90,
    ),
    ("answers", b"x\n" + b"On 2026 10:10 a@b wrote " * 100 + b":"),
    ("answers", b"x\n" + b"Da: " * 700 + b"\n" + b"> " * 700 + b"\n" + b"a:\n" * 700),
    ("answers", b"x\n" + "ﷺ".encode() * 900),
    ("answers", b"x\n" + b"unsubscribe " * 250),
    ("absences", "Subject: x\n\nuntil ²³.³.2026, 31 February 2026, 99.99.99999, ٣/٣/٢٠٢٦".encode()),
    ("absences", b"X-Apple-Criteria: enddate=9999-99-99\nSubject: Automatic reply\n\nuntil 1 January 99999"),
    ("tokens", "1²".encode() + b"A" * 50),
    ("records", b"\0v=spf1 a:%{d99999999999999999999r} ip4:1.2.3.4/\xc2\xb2 exists:%{" + b"%{d}" * 99),
    ("records", b"\0v=spf1 include:example.com redirect=example.com\n\0v=spf1"),
    ("records", b"\4v=spf1 include:c.example\n\5v=spf1 include:b.example\n\0v=spf1 include:b.example"),
    ("records", "\1v=DMARC1; p=reject; pct=²; rua=mailto:%ff@[::1!²m".encode()),
    ("records", b"\3v=DKIM1; k=rsa; p=MIIB////////AAAA=="),
    ("imap", b"\3* \xc2\xb2 EXISTS\r\n* OK [UIDVALIDITY \xc2\xb2] x\r\nTAG OK x\r\n"),
    ("imap", b"\4* OK [UIDVALIDITY 7] x\r\nTAG OK x\r\n\0* 1 FETCH (BODY[]<0> {99999999999999999999}\r\n"),
    ("imap", b"\0" + b"* LIST (" + b"(" * 1400),
)
