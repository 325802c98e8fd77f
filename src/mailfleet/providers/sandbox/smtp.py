"""The SMTP submission face: RFC 5321, 6409, with SIZE (1870), PIPELINING (2920), STARTTLS (3207), AUTH (4954), 8BITMIME
(6152), SMTPUTF8 (6531) and enhanced codes (2034). One recipient a transaction, so that one record tells one letter.

A small protocol of our own: a ready-made server in Python (aiosmtpd) spends about four times the processor on a letter,
more than the client that it is to measure.
"""

import asyncio
import re
import time
from dataclasses import dataclass

from mailfleet.providers.sandbox import sasl
from mailfleet.providers.sandbox.config import User
from mailfleet.providers.sandbox.dialects import Reply
from mailfleet.providers.sandbox.ledger import Dropped, Stage
from mailfleet.providers.sandbox.letter import Letter, read_letter, unstuff
from mailfleet.providers.sandbox.provider import DropPoint
from mailfleet.providers.sandbox.wire import MAX_LINE, Wire

_MAIL = re.compile(r"FROM: ?<([^<>\s]*)>((?: [^\s]+)*)", re.IGNORECASE)
_RCPT = re.compile(r"TO: ?<([^<>\s]+@[^<>\s]+)>", re.IGNORECASE)
_END = b"\r\n.\r\n"
_OK = Reply(250, "2.0.0 OK")
_SENDER_OK = Reply(250, "2.1.0 Sender OK")
_RECIPIENT_OK = Reply(250, "2.1.5 Recipient OK")
_GO_AHEAD = Reply(354, "End data with <CR><LF>.<CR><LF>")
_QUEUED = Reply(250, "2.0.0 OK: queued")
_TOO_LARGE = Reply(552, "5.3.4 Message size exceeds the limit")
_LOGGED_IN = Reply(235, "2.7.0 Authentication successful")
_NO_LETTER = Letter()


@dataclass(slots=True)
class _Open:
    """The transaction in hand."""

    mail_at: float
    mail_from: str
    smtputf8: bool
    rcpt: str = ""
    number: int = 0
    stage: Stage = "mail"
    drop: DropPoint | None = None


class SmtpConnection(Wire):
    """What comes next is a command, an answer to a SASL challenge (`_mechanism`), the content (`_in_content`), or
    nothing until the delay of a reply is over (`_verdict`)."""

    face = "smtp"
    _ehlo = ""
    _open: _Open | None = None
    _mechanism = ""
    _login: bytes | None = None
    _in_content = False
    _scanned = 0
    _is_oversized = False
    _timer: asyncio.TimerHandle | None = None
    _verdict: tuple[Reply, Letter] | None = None
    _content = b""

    def _greet(self) -> None:
        self._say(Reply(220, f"{self.provider.config.name} ESMTP sandbox"))

    def _turn_away(self) -> None:
        self._say(self.provider.dialect.connections)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._verdict is not None:
            self._record_verdict("lost")
        elif self._open is not None:
            self._record(None, "lost")
        super().connection_lost(exc)

    def _say(self, reply: Reply) -> None:
        self._out.append(reply.wire)

    def _take(self) -> bool:
        if self._in_content:
            return self._take_content()
        line = self._line()
        if line is None:
            return False
        if self._mechanism:
            self._answer(line)
        else:
            self._command(line)
        return True

    def _refuse_line(self) -> None:
        self._say(Reply(500, "5.5.2 Line too long"))

    def _command(self, line: bytes) -> None:
        verb, _, rest = line.decode("utf-8", "surrogateescape").partition(" ")
        match verb.upper():
            case "MAIL":
                self._mail(rest)
            case "RCPT":
                self._rcpt(rest)
            case "DATA":
                self._data()
            case "EHLO" | "HELO" if rest.strip():
                self._hello(verb.upper(), rest.strip())
            case "RSET":
                self._reset()
                self._say(_OK)
            case "NOOP":
                self._say(_OK)
            case "AUTH":
                self._auth(rest)
            case "STARTTLS" if self._offers_starttls:
                self._turn_to_tls()
            case "QUIT":
                self._reset()
                self._say(Reply(221, "2.0.0 Bye"))
                self._close()
            case "VRFY":
                self._say(Reply(252, "2.5.2 Send some mail, then we shall see"))
            case "EHLO" | "HELO":
                self._say(Reply(501, "5.5.4 Name the host"))
            case _:
                self._say(Reply(502, "5.5.1 Command not implemented"))

    def _reset(self) -> None:
        if self._open is not None:
            self._record(None, "")

    def _hello(self, verb: str, name: str) -> None:
        self._reset()
        self._ehlo = name
        host = self.provider.config.name
        if verb == "HELO":
            self._say(Reply(250, host))
            return
        size = self.provider.config.size_limit
        lines = [host, f"SIZE {size}", "8BITMIME", "SMTPUTF8", "PIPELINING", "ENHANCEDSTATUSCODES"]
        lines += ["STARTTLS"] if self._offers_starttls else [f"AUTH {' '.join(sasl.MECHANISMS)}"]
        self._say(Reply(250, "\n".join(lines)))

    def _turn_to_tls(self) -> None:
        self._reset()
        self._ehlo = ""
        self._start_tls(Reply(220, "2.0.0 Ready to start TLS").wire)

    # AUTH

    def _auth(self, rest: str) -> None:
        mechanism, _, initial = rest.partition(" ")
        mechanism = mechanism.upper()
        if self._offers_starttls:
            self._say(Reply(530, "5.7.0 Must issue a STARTTLS command first"))
        elif not self._ehlo or self.user is not None or self._open is not None:
            self._say(Reply(503, "5.5.1 AUTH comes once, after EHLO and outside a transaction"))
        elif mechanism not in sasl.MECHANISMS:
            self._say(Reply(504, "5.5.4 Unrecognized authentication type"))
        else:
            self._mechanism = mechanism
            self._login = None
            if initial:
                self._answer(initial.encode("utf-8", "surrogateescape"))
            else:
                self._say(Reply(334, "VXNlcm5hbWU6" if mechanism == "LOGIN" else ""))

    def _answer(self, line: bytes) -> None:
        response = sasl.decode(line)
        if self._mechanism == "XOAUTH2-REFUSED":
            self._end_auth(None)
        elif line == b"*" or response is None:
            self._mechanism = ""
            self._say(Reply(501, "5.5.2 Authentication cancelled or not base64"))
        elif self._mechanism == "LOGIN" and self._login is None:
            self._login = response
            self._say(Reply(334, "UGFzc3dvcmQ6"))
        else:
            self._judge_claim(response)

    def _judge_claim(self, response: bytes) -> None:
        if self._mechanism == "XOAUTH2":
            claim = sasl.read_xoauth2(response)
        elif self._login is not None:
            claim = sasl.read_plain(b"\0" + self._login + b"\0" + response)
        else:
            claim = sasl.read_plain(response)
        user = self.provider.log_in("smtp", claim) if claim else None
        if user is None and self._mechanism == "XOAUTH2":
            self._mechanism = "XOAUTH2-REFUSED"
            self._say(Reply(334, sasl.XOAUTH2_REFUSAL.decode()))
        else:
            self._end_auth(user)

    def _end_auth(self, user: User | None) -> None:
        self._mechanism = ""
        if user is None:
            self._say(self.provider.dialect.bad_login)
        else:
            self._enter(user)
            self._say(_LOGGED_IN)

    # The envelope

    def _mail(self, rest: str) -> None:
        match = _MAIL.fullmatch(rest)
        if self.user is None:
            self._say(Reply(530, "5.7.0 Authentication required"))
        elif self._open is not None:
            self._say(Reply(503, "5.5.1 Nested MAIL command"))
        elif match is None:
            self._say(Reply(501, "5.1.7 Bad sender address syntax"))
        else:
            self._begin(self.user, match[1], match[2].upper().split())

    def _begin(self, user: User, mail_from: str, parameters: list[str]) -> None:
        smtputf8 = "SMTPUTF8" in parameters
        self._open = _Open(time.time(), mail_from, smtputf8)
        refusal = (
            _refuse_parameters(parameters, self.provider.config.size_limit)
            or _refuse_script(mail_from, smtputf8)
            or self.provider.refuse_sender(user, self)
        )
        self._settle(refusal, _SENDER_OK)

    def _rcpt(self, rest: str) -> None:
        match = _RCPT.fullmatch(rest)
        if self._open is None:
            self._say(Reply(503, "5.5.1 MAIL first"))
        elif match is None:
            self._say(Reply(501, "5.1.3 Bad recipient address syntax"))
        elif self._open.rcpt:
            self._say(Reply(452, "4.5.3 Too many recipients"))
        else:
            self._aim(self._open, match[1])

    def _aim(self, transaction: _Open, rcpt: str) -> None:
        transaction.rcpt = rcpt
        transaction.stage = "rcpt"
        transaction.number = self.provider.begin_try(rcpt)
        transaction.drop = self.provider.drop_point(rcpt, transaction.number)
        refusal = _refuse_script(rcpt, transaction.smtputf8) or self.provider.refuse_recipient(
            transaction.mail_from, rcpt
        )
        self._settle(refusal, _RECIPIENT_OK)

    def _settle(self, refusal: Reply | None, consent: Reply) -> None:
        """Says one or the other. A refusal ends the transaction: its one letter cannot be taken any more."""
        if refusal is not None:
            self._record(refusal, "")
        self._say(refusal or consent)
        if refusal is not None and refusal.code == 421:  # RFC 5321 section 3.8: with 421 the server closes
            self._close()

    # The content

    def _data(self) -> None:
        transaction = self._open
        if transaction is None or not transaction.rcpt:
            self._say(Reply(503, "5.5.1 RCPT first"))
        elif transaction.drop == "before_data":
            self._drop("before_data")
        else:
            transaction.stage = "data"
            self._say(_GO_AHEAD)
            self._in_content = True
            self._is_oversized = False
            self._scanned = 0
            self._buffer[:0] = b"\r\n"  # so that the end of an empty letter looks like any other

    def _take_content(self) -> bool:
        assert self._open is not None
        if self._open.drop == "in_data" and len(self._buffer) > 2:
            self._drop("in_data")
            return False
        end = self._buffer.find(_END, self._scanned)
        if end < 0:
            self._scanned = max(0, len(self._buffer) - len(_END) + 1)
            self._shed()
            return False
        content = unstuff(bytes(self._buffer[2 : end + 2]))
        del self._buffer[: end + len(_END)]
        self._in_content = False
        self._judge_letter(self._open, content)
        return True

    def _shed(self) -> None:
        """Keeps no more of a letter over the limit than its end may hide in."""
        if len(self._buffer) > 2 * self.provider.config.size_limit + MAX_LINE:
            self._is_oversized = True
            del self._buffer[: 1 - len(_END)]
            self._scanned = 0

    def _judge_letter(self, transaction: _Open, content: bytes) -> None:
        transaction.stage = "dot"
        letter = read_letter(content)
        if transaction.drop == "before_commit":
            self._drop("before_commit", letter)
            return
        refusal = _TOO_LARGE if self._is_oversized or letter.size > self.provider.config.size_limit else None
        refusal = refusal or self.provider.refuse_letter(transaction.rcpt, transaction.number)
        self._verdict = (refusal or _QUEUED, letter)
        self._content = content
        delay = self.provider.delay(transaction.rcpt, transaction.number)
        if refusal is None and transaction.drop == "after_commit":
            self._drop("after_commit")
        elif delay:
            self._waiting = True
            self._timer = asyncio.get_running_loop().call_later(delay, self._resume)
        else:
            self._conclude()

    def _resume(self) -> None:
        self._timer = None
        self._waiting = False
        self._conclude()
        self._work()

    def _conclude(self) -> None:
        assert self._verdict is not None
        reply, _ = self._verdict
        self._record_verdict("")
        self._say(reply)

    # The ledger

    def _drop(self, where: Dropped, letter: Letter = _NO_LETTER) -> None:
        self._waiting = True
        if self._verdict is not None:
            self._record_verdict(where)
        else:
            self._record(None, where, letter)
        self.abort()

    def _record_verdict(self, dropped: Dropped) -> None:
        """A letter that was taken stays taken, whether its reply goes out or not (RFC 1047)."""
        assert self._verdict is not None
        reply, letter = self._verdict
        self._verdict = None
        content, self._content = self._content, b""
        transaction, user, accepted = self._open, self.user, reply.code == 250
        if accepted and user is not None:
            self.provider.count(user)
        self._record(None if dropped else reply, dropped, letter, accepted)
        if accepted and user is not None and transaction is not None:
            self.provider.take(user, transaction.mail_from, transaction.rcpt, content)

    def _record(
        self, reply: Reply | None, dropped: Dropped, letter: Letter = _NO_LETTER, accepted: bool = False
    ) -> None:
        """Ends the transaction in hand with its record."""
        transaction, user = self._open, self.user
        assert transaction is not None and user is not None
        self._open = None
        self.provider.ledger.append(
            "transaction",
            {
                "mail_at": transaction.mail_at,
                "end_at": time.time(),
                "provider": user.provider,
                "account": user.account,
                "mailbox": user.mailbox,
                "ehlo": self._ehlo,
                "mail_from": transaction.mail_from,
                "rcpt": transaction.rcpt,
                "stage": transaction.stage,
                "code": reply.code if reply else 0,
                "text": reply.text if reply else "",
                "accepted": accepted,
                "dropped": dropped,
                "size": letter.size,
                "message_id": letter.message_id,
                "subject": letter.subject,
                "header_from": letter.header_from,
                "header_to": letter.header_to,
                "in_reply_to": letter.in_reply_to,
                "list_unsubscribe": letter.list_unsubscribe,
            },
        )


def _refuse_parameters(parameters: list[str], size_limit: int) -> Reply | None:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "SIZE" and value.isdecimal():
            if int(value) > size_limit:
                return _TOO_LARGE
        elif parameter not in ("BODY=7BIT", "BODY=8BITMIME", "SMTPUTF8") and name != "AUTH":
            return Reply(555, "5.5.4 Unsupported option")
    return None


def _refuse_script(address: str, smtputf8: bool) -> Reply | None:
    """RFC 6531 section 3.4: an address beyond ASCII needs the parameter."""
    return None if smtputf8 or address.isascii() else Reply(553, "5.6.7 Non-ASCII address needs SMTPUTF8")
