# ruff: noqa: E501
"""Reports as servers of further makes write them, typed from what is known of their formats; and mail that is none."""

from typing import NamedTuple


class Written(NamedTuple):
    """One mail and what it is: kind, address → severity, scope of the first recipient (empty: any)."""

    name: str
    kind: str
    recipients: dict[str, str]
    scope: str
    raw: bytes


def _written(name: str, kind: str, recipients: dict[str, str], scope: str, text: str) -> Written:
    return Written(name, kind, recipients, scope, text.strip().replace("\n", "\r\n").encode())


WRITTEN = [
    _written(
        "Domino",
        "bounce",
        {"some.one@b.example": "hard"},
        "recipient",
        """
From: Postmaster@b.example
To: me@a.example
Subject: DELIVERY FAILURE: User some.one (some.one@b.example) not listed in Domino Directory
Content-Type: text/plain

Your message

  Subject: Hello

was not delivered to:

  some.one@b.example

because:

  User some.one (some.one@b.example) not listed in Domino Directory
""",
    ),
    _written(
        "Exchange 5.5",
        "bounce",
        {"one@b.example": "hard"},
        "recipient",
        """
From: System Administrator <postmaster@b.example>
To: me@a.example
Subject: Undeliverable: Hello

Your message

  To:      one@b.example
  Subject: Hello
  Sent:    Thu, 29 Apr 2004 11:00:00 +0200

did not reach the following recipient(s):

one@b.example on Thu, 29 Apr 2004 11:00:05 +0200
    The recipient name is not recognized
        The MTS-ID of the original message is: c=de;a= ;p=b;l=X0404290900ABC
    MSEXCH:IMS:B:SITE:HOST 0 (000C05A6) Unknown Recipient
""",
    ),
    _written(
        "Exchange 2007 in German",
        "bounce",
        {"eins@b.example": "hard"},
        "recipient",
        """
From: <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@b.example>
To: me@a.example
Subject: Unzustellbar: Hallo
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Fehler bei der Nachrichtenzustellung an folgende Empfänger oder Verteilerlisten:

eins@b.example<mailto:eins@b.example>
Die eingegebene E-Mail-Adresse konnte nicht gefunden werden. Überprüfen Sie die E-Mail-Adresse und senden Sie die Nachricht erneut.

Diagnoseinformationen für Administratoren:

Generierender Server: b.example

eins@b.example
#550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##
""",
    ),
    _written(
        "MailMarshal",
        "bounce",
        {"one@b.example": "hard"},
        "recipient",
        """
Return-Path: <>
From: postmaster@b.example
To: me@a.example
Subject: Undeliverable Mail: "Hello"

Your message:
   From:    me@a.example
   Subject: Hello

Could not be delivered because of

550 5.1.1 User unknown

The following recipients were affected:
    one@b.example

""",
    ),
    _written(
        "Courier",
        "bounce",
        {"one@b.example": "hard"},
        "recipient",
        """
From: "Courier mail server at c.example" <@c.example>
To: me@a.example
Subject: NOTICE: mail delivery status.
Return-Path: <>

This is a delivery status notification from c.example, running the Courier
mail server, version 0.65.2.

The original message was received on Thu, 29 Apr 2010 11:00:00 +0200
from a.example.

               UNDELIVERABLE MAIL

Your message to the following recipients cannot be delivered:

<one@b.example>:
    mx.b.example [192.0.2.7]:
>>> RCPT TO:<one@b.example>
<<< 550 5.1.1 <one@b.example>... User Unknown

If your message was also sent to additional recipients, their delivery
status is not included in this report.
""",
    ),
    _written(
        "MessageLabs",
        "bounce",
        {"one@b.example": "hard"},
        "recipient",
        """
From: "Mail Delivery System" <MAILER-DAEMON@messagelabs.example>
To: me@a.example
Subject: Mail Delivery Failure
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

This is the mail delivery agent at messagelabs.example.
I was unable to deliver your message to the following addresses:

one@b.example

Reason: 550 5.1.1 <one@b.example>: Recipient address rejected: User unknown

The message subject was: Hello

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; server-15.messagelabs.example
Arrival-Date: Thu, 29 Apr 2010 11:00:00 +0200

--b
Content-Type: text/rfc822-headers

Message-Id: <m1@a.example>
From: me@a.example
To: one@b.example
Subject: Hello

--b--
""",
    ),
    _written(
        "McAfee",
        "bounce",
        {"one@b.example": "hard"},
        "recipient",
        """
From: Mail Delivery Subsystem <postmaster@b.example>
To: me@a.example
Subject: Returned mail: see transcript for details

--- The following addresses had delivery problems ---

<one@b.example>   (User unknown one@b.example)

""",
    ),
    _written(
        "MXLogic",
        "bounce",
        {"one@b.example": "soft"},
        "",
        """
From: Mail Delivery System <Mailer-Daemon@b.example>
To: me@a.example
Subject: Mail delivery failed: returning message to sender

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  <one@b.example>
    SMTP error from remote mail server after RCPT TO:<one@b.example>:
    host mx.b.example [192.0.2.9]: 552 5.2.2 <one@b.example>: Mailbox full

Included is a copy of the message header:
-----------------------------------------
Date: Thu, 29 Apr 2010 11:00:00 +0200
From: me@a.example
To: one@b.example
Subject: Hello
""",
    ),
    _written(
        "smail",
        "bounce",
        {"one@b.example": "hard"},
        "recipient",
        """
From: <MAILER-DAEMON@t.example>
To: me@a.example
Subject: mail failed, returning to sender

|------------------------- Message log follows: -------------------------|
 no valid recipients were found for this message
|------------------------- Failed addresses follow: ---------------------|
 <one@b.example> ... unknown host
|------------------------- Message text follows: ------------------------|
Received: from a.example by t.example
From: me@a.example
To: one@b.example
Subject: Hello

Hello
""",
    ),
    _written(
        "James",
        "bounce",
        {"one@b.example": "hard"},
        "recipient",
        """
From: postmaster@c.example
To: me@a.example
Subject: Re:Hello
Return-Path: <>
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

Hi. This is the James mail server at c.example.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.  Below
I include the list of recipients and the reason why I was unable to deliver
your message.

Error message below:
550 - Requested action not taken: no such user here

Message details:
  Subject: Hello
  Sent date: Wed Apr 29 11:00:00 GMT 2010
  MAIL FROM: me@a.example
  RCPT TO: one@b.example
  From: me@a.example
  To: one@b.example
--b
Content-Type: message/rfc822

Message-ID: <m1@a.example>
From: me@a.example
To: one@b.example
Subject: Hello

Hello
--b--
""",
    ),
    _written(
        "a gateway that answers in brackets",
        "bounce",
        {"one@b.example": "hard"},
        "recipient",
        """
From: Postmaster@a.example
To: me@a.example
Subject: There was an error sending your mail

We had trouble delivering your message. Full details follow:

Subject: 'Hello'
Date: 'Thu, 29 Apr 2010 11:00:00 +0200'

1 error(s):

SMTP Server <mx.b.example> rejected recipient <one@b.example>
  (Error following RCPT command). It responded as follows: [550 5.1.1 unknown user]
""",
    ),
    _written(
        "X.400 gateway",
        "bounce",
        {"one@b.example": "hard"},
        "recipient",
        """
From: postmaster@x400.example
To: me@a.example
Subject: Delivery Report (failure) for one@b.example

This report relates to your message: Subject: Hello
of Thu, 29 Apr 2004 11:00:00 +0200

Your message was not delivered to:  one@b.example
for the following reason:
        Recipient's Mailbox unavailable
        Unable to transfer: unrecognised O/R name
""",
    ),
    _written(
        "ezweb",
        "bounce",
        {"one@ezweb.example": "soft"},
        "recipient",
        """
From: <Postmaster@ezweb.example>
To: me@a.example
Subject: Mail System Error - Returned Mail

The user(s) account is temporarily limited.

<one@ezweb.example>
The following recipients did not receive this message:

--_boundary
""",
    ),
    _written(
        "MDaemon",
        "bounce",
        {"one@b.example": "hard"},
        "recipient",
        """
From: MDaemon at c.example <MDaemon@c.example>
To: me@a.example
Subject: Permanent Delivery Failure

The attached message had PERMANENT fatal delivery errors!

After one or more unsuccessful delivery attempts the attached message has
been removed from the mail queue on this server.

The following addresses did NOT receive a copy of the message:

> one@b.example

--- Session Transcript ---
--> RCPT To:<one@b.example>
<-- 550 5.1.1 <one@b.example>... User unknown
--- End Transcript ---
: Message contains [1] file attachments
""",
    ),
    _written(
        "Exim, delayed",
        "bounce",
        {"one@b.example": "delayed"},
        "",
        """
From: Mail Delivery System <Mailer-Daemon@c.example>
To: me@a.example
Subject: Warning: message 1abcde-000000-00 delayed 24 hours
Auto-Submitted: auto-replied

This message was created automatically by mail delivery software.

A message that you sent has not yet been delivered to one or more of its
recipients after more than 24 hours on the queue on c.example.

The message identifier is:     1abcde-000000-00
The subject of the message is: Hello

The address to which the message has not yet been delivered is:

  one@b.example
    host mx.b.example [192.0.2.9]
    Delay reason: Connection timed out

No action is required on your part. Delivery attempts will continue for
some time, and this warning may be repeated at intervals if the message
remains undelivered. Eventually the mail delivery software will give up,
and when that happens, the message will be returned to you.
""",
    ),
    _written(
        "Microsoft, daily limit of the mailbox",
        "bounce",
        {"one@b.example": "soft"},
        "mailbox",
        """
From: Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@a.example>
To: me@a.example
Subject: Undeliverable: Hello
Content-Type: multipart/report; report-type=delivery-status; boundary=b
In-Reply-To: <m1@a.example>

--b
Content-Type: text/plain; charset=utf-8

Your message to one@b.example couldn't be delivered.

You've reached your daily limit for message recipients.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns;AB1PR01MB0001.eurprd01.prod.outlook.com
Received-From-MTA: dns;AB1PR01MB0001.eurprd01.prod.outlook.com

Final-Recipient: rfc822;one@b.example
Action: failed
Status: 5.1.90
Diagnostic-Code: smtp;550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients

--b--
""",
    ),
    _written(
        "Microsoft, limit of the tenant",
        "bounce",
        {"one@b.example": "soft"},
        "account",
        """
From: postmaster@a.example
To: me@a.example
Subject: Undeliverable: Hello
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

Your message to one@b.example couldn't be delivered.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns;AB1PR01MB0001.eurprd01.prod.outlook.com

Final-Recipient: rfc822;one@b.example
Action: failed
Status: 5.7.233
Diagnostic-Code: smtp;550 5.7.233 - Your message can't be sent because your tenant exceeded its daily limit for sending email to external recipients (tenant external recipient rate limit)

--b--
""",
    ),
    _written(
        "Microsoft, banned tenant",
        "bounce",
        {"one@b.example": "soft"},
        "account",
        """
From: postmaster@a.example
To: me@a.example
Subject: Undeliverable: Hello
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

Your message to one@b.example couldn't be delivered.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns;AB1PR01MB0001.eurprd01.prod.outlook.com

Final-Recipient: rfc822;one@b.example
Action: failed
Status: 5.7.705
Diagnostic-Code: smtp;550 5.7.705 Service unavailable. Access denied, tenant has exceeded threshold. Please visit http://go.microsoft.com/fwlink/?LinkId=526653 for further information.
Remote-MTA: dns;AB1EUR01FT001.mail.protection.outlook.com

--b--
""",
    ),
    _written(
        "Google, limit of the mailbox",
        "bounce",
        {"one@b.example": "soft"},
        "mailbox",
        """
From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>
To: me@a.example
Auto-Submitted: auto-replied
Subject: Delivery Status Notification (Failure)
X-Failed-Recipients: one@b.example
References: <m1@a.example>
In-Reply-To: <m1@a.example>
Content-Type: text/plain; charset="UTF-8"

** Message not sent **

You have reached a limit for sending mail. Your message was not sent.

Learn more here: https://support.google.com/mail/answer/22839

----- Original message -----

From: me@a.example
To: one@b.example
Subject: Hello
Message-ID: <m1@a.example>

Hello
""",
    ),
    _written(
        "Google, limit of the mailbox, nobody named",
        "bounce",
        {},
        "mailbox",
        """
From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>
To: me@a.example
Auto-Submitted: auto-replied
Subject: Delivery Status Notification (Failure)
In-Reply-To: <m1@a.example>
Content-Type: text/plain; charset="UTF-8"

You have reached a limit for sending mail. Your message was not sent.
""",
    ),
    _written(
        "cPanel, limit of the domain",
        "bounce",
        {"one@b.example": "soft"},
        "domain",
        """
From: Mail Delivery System <Mailer-Daemon@host.example>
To: me@a.example
X-Failed-Recipients: one@b.example
Auto-Submitted: auto-replied
Subject: Mail delivery failed: returning message to sender

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  one@b.example
    Domain a.example has exceeded the max emails per hour (750/600 (125%)) allowed.  Message discarded.
""",
    ),
    _written(
        "KDDI",
        "bounce",
        {"one@b.example": "soft"},
        "recipient",
        """
From: no-reply@app.kddi.example
To: me@a.example
Subject: Hello
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

Your mail sent on: Thu, 29 Apr 2010 11:00:00 +0900
    Could not be delivered to: <one@b.example>
    As their mailbox is full.

--b
Content-Type: message/rfc822

Message-ID: <m1@a.example>
From: me@a.example
To: one@b.example
Subject: Hello

--b--
""",
    ),
    _written(
        "Zoho",
        "bounce",
        {"one@b.example": "hard"},
        "recipient",
        """
From: mailer-daemon@mail.zoho.example
To: me@a.example
Subject: Undelivered Mail Returned to Sender
Content-Type: text/plain
Content-Transfer-Encoding: quoted-printable

This message was created automatically by mail delivery software.
 A message that you sent could not be delivered to one or more of its recip=
ients. This is a permanent error.=20

one@b.example Invalid Address, ERROR_CODE :550, ERROR_CODE :5.1.=
1 <one@b.example>... User Unknown

""",
    ),
    _written(
        "Zoho, delayed",
        "bounce",
        {"one@b.example": "delayed"},
        "",
        """
From: mailer-daemon@mail.zoho.example
To: me@a.example
Subject: Delivery Status Notification (Delay)

This message was created automatically by mail delivery software.

The original message was received at Thu, 29 Apr 2010 11:00:00 +0900, will be tried again until it is one day old.

[Status: Error, Address: <one@b.example>, ResponseCode 421, , Host not reachable.]
""",
    ),
    _written(
        "SurfControl",
        "bounce",
        {"one@b.example": "hard"},
        "recipient",
        """
From: "Mail Administrator" <postmaster@c.example>
To: me@a.example
Subject: Your message could not be sent

Your message could not be sent.
A transcript of the attempts to send the message follows.
The number of attempts made: 1
Addressed To: one@b.example

Thu 29 Apr 2010 11:00:00 +0900
Failed to send to identified host,
one@b.example: [192.0.2.5], 550 one@b.example... No such user
--- Message non-deliverable.
""",
    ),
    _written(
        "ezweb, refused elsewhere",
        "bounce",
        {"one@b.example": "hard"},
        "recipient",
        """
From: <Postmaster@ezweb.example>
To: me@a.example
Subject: Mail System Error - Returned Mail
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

Each of the following recipients was rejected by a remote mail server.
The reasons given by the server are included to help you determine why
each recipient was rejected.

    Recipient: <one@b.example>
    >>> RCPT TO:<one@b.example>
    <<< 550 <one@b.example>: User unknown

--b
Content-Type: message/rfc822

From: me@a.example
To: one@b.example
Subject: Hello

--b--
""",
    ),
    _written(
        "a filter that answers in Japanese",
        "bounce",
        {"one@b.example": "hard"},
        "recipient",
        """
From: "Mail Delivery Subsystem" <MAILER-DAEMON@c.example>
To: me@a.example
Subject: failure notice
Content-Type: text/plain; charset=iso-2022-jp

-------server message
550 5.1.1 unknown user <one@b.example>

-------original mail info
From: me@a.example
To: one@b.example
Subject: Hello
Date: Thu, 29 Apr 2010 11:00:00 +0900
""",
    ),
    _written(
        "GroupWise",
        "bounce",
        {"one@b.example": "hard"},
        "recipient",
        """
From: "Mail Delivery System" <postmaster@b.example>
To: me@a.example
Subject: Message status - undeliverable

The message that you sent was undeliverable to the following:
        one@b.example (550 No such recipient)

Possibly truncated original message follows:

Hello
""",
    ),
    _written(
        "a server that repeats its own fields",
        "bounce",
        {"one@b.example": "hard"},
        "recipient",
        """
From: "Postmaster" <postmaster@c.example>
To: <me@a.example>
Subject: Undeliverable Mail

Save to the following address book:

To: me@a.example
CC:
Date: Thursday, Apr 29, 2010 11:00:00 AM
Subject: Undeliverable Mail

undeliverable to one@b.example

550 5.1.1 User unknown
""",
    ),
    _written(
        "a letter to ourselves",
        "bounce",
        {"me@a.example": "soft"},
        "recipient",
        """
From: MAILER-DAEMON@a.example
To: me@a.example
Subject: failure notice

Hi. This is the qmail-send program at a.example.
I'm afraid I wasn't able to deliver your message to the following addresses.

<me@a.example>:
Remote host said: 552 5.2.2 Mailbox full
""",
    ),
    _written(
        "sendmail, several recipients",
        "bounce",
        {"one@b.example": "hard", "two@b.example": "soft"},
        "",
        """
From: Mail Delivery Subsystem <MAILER-DAEMON@c.example>
To: me@a.example
Subject: Returned mail: see transcript for details

   ----- The following addresses had permanent fatal errors -----
<one@b.example>
<two@b.example>

   ----- Transcript of session follows -----
... while talking to mx.b.example.:
>>> RCPT To:<one@b.example>
<<< 550 5.1.1 <one@b.example>... User unknown
550 5.1.1 <one@b.example>... User unknown
>>> RCPT To:<two@b.example>
<<< 552 5.2.2 <two@b.example>... Mailbox full
554 5.0.0 <two@b.example>... Service unavailable
""",
    ),
]

NO_REPORTS = [
    _written(
        "a person who answers a report",
        "reply",
        {},
        "",
        """
From: Jane <jane@b.example>
To: me@a.example
Subject: Re: Undelivered Mail Returned to Sender
In-Reply-To: <m1@a.example>

Your mail came back to me, here is what I got:

> I'm sorry to have to inform you that your message could not
> be delivered to one or more recipients.
> <one@c.example>: host mx.c.example said: 550 5.1.1 User unknown
""",
    ),
    _written(
        "a person who forwards a report",
        "other",
        {},
        "",
        """
From: Jane <jane@b.example>
To: me@a.example
Subject: Fwd: Undelivered Mail Returned to Sender
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

See below.
--b
Content-Type: message/rfc822

From: MAILER-DAEMON@c.example
To: jane@b.example
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary=c

--c
Content-Type: message/delivery-status

Reporting-MTA: dns; c.example

Final-Recipient: rfc822; one@c.example
Action: failed
Status: 5.1.1

--c--
--b--
""",
    ),
    _written(
        "a person who sends on the letter that came back",
        "other",
        {},
        "",
        """
From: Jane <jane@b.example>
To: me@a.example
Subject: Fwd: Returned mail
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

This could not be delivered to:
one@c.example
--b
Content-Type: message/rfc822

From: jane@b.example
To: one@c.example
Subject: Hello

--b--
""",
    ),
    _written(
        "a parcel",
        "other",
        {},
        "",
        """
From: Parcels <noreply@parcels.example>
To: me@a.example
Subject: Delivery failed: we could not deliver your parcel

Your parcel could not be delivered to the following address. Delivery will be tried again tomorrow.
Questions? Write to help@parcels.example
""",
    ),
    _written(
        "a newsletter about delivery",
        "other",
        {},
        "",
        """
From: Deliverability Weekly <news@news.example>
To: me@a.example
Subject: Why mail is returned to sender
List-Unsubscribe: <mailto:leave@news.example>
List-Id: <weekly.news.example>

550 5.1.1 User unknown means that a mailbox does not exist. Mail to x@example.com could not be delivered.
To unsubscribe write to leave@news.example
""",
    ),
    _written(
        "a read receipt",
        "auto_reply",
        {},
        "",
        """
From: Jane <jane@b.example>
To: me@a.example
Subject: Read: Hello
Content-Type: multipart/report; report-type=disposition-notification; boundary=b

--b
Content-Type: text/plain

Your message was read on Thu, 29 Apr 2010.
--b
Content-Type: message/disposition-notification

Final-Recipient: rfc822;jane@b.example
Original-Message-ID: <m1@a.example>
Disposition: manual-action/MDN-sent-manually; displayed

--b--
""",
    ),
    _written(
        "a report of delivery",
        "other",
        {"one@b.example": "delivered"},
        "",
        """
From: MAILER-DAEMON@c.example
To: me@a.example
Subject: Successful Mail Delivery Report
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

Your message was successfully delivered to the destination.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; c.example

Final-Recipient: rfc822; one@b.example
Action: delivered
Status: 2.0.0
Diagnostic-Code: smtp; 250 2.0.0 Ok: queued

--b--
""",
    ),
]
