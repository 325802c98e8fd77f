"""The IMAP face (RFC 3501, SASL-IR 4959, IDLE 2177, UIDPLUS 4315, SPECIAL-USE 6154, and of CONDSTORE 7162 the number).

Here are the connection and its login; `imap_folders` answers about folders, `imap_reading` about mails.
"""

import asyncio
import re
from collections.abc import Callable

from mailfleet.providers.sandbox import sasl
from mailfleet.providers.sandbox.config import User
from mailfleet.providers.sandbox.imap_folders import FOLDER_COMMANDS, answer_folders
from mailfleet.providers.sandbox.imap_reading import Opened, answer_uid
from mailfleet.providers.sandbox.wire import MAX_LINE, Wire

_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*)"|(\([^)]*\))|([^\s"()]+)')
_LITERAL = re.compile(rb"\{(\d+)(\+?)\}$")
_ESCAPED = re.compile(rb"\\(.)")


class ImapConnection(Wire):
    """What comes next is a line of a command, the literal it announced (`_literal` octets), or a SASL response."""

    face = "imap"
    _literal: int | None = None
    _mechanism = ""
    _tag = "*"
    _opened: Opened | None = None
    _is_idle = False
    _timer: asyncio.TimerHandle | None = None

    def _greet(self) -> None:
        self._tokens: list[bytes] = []
        self._news: list[str] = []
        self._untagged(f"OK [CAPABILITY {self._capabilities}] {self.provider.config.name} sandbox")

    def _turn_away(self) -> None:
        self._untagged("BYE Too many connections")

    def _refuse_line(self) -> None:
        self._untagged("BYE Line too long")

    def _untagged(self, text: str) -> None:
        self._out.append(f"* {text}\r\n".encode())

    def _end(self, text: str) -> None:
        self._out.append(f"{self._tag} {text}\r\n".encode())

    @property
    def _capabilities(self) -> str:
        habits = self.provider.habits
        offered = {"SPECIAL-USE": habits.special_use, "IDLE": habits.idle, "CONDSTORE": habits.condstore}
        words = ["IMAP4rev1", "SASL-IR", "LITERAL+", "UIDPLUS", *(word for word, is_so in offered.items() if is_so)]
        words += ["STARTTLS", "LOGINDISABLED"] if self._offers_starttls else ["AUTH=PLAIN", "AUTH=XOAUTH2"]
        return " ".join(words)

    def _take(self) -> bool:
        if self._literal is not None:
            return self._take_literal(self._literal)
        line = self._line()
        if line is None:
            return False
        if self._mechanism:
            self._answer(line)
        elif self._is_idle:
            self._end_idle(line)
        else:
            self._take_line(line)
        return True

    def _take_literal(self, length: int) -> bool:
        if len(self._buffer) < length:
            return False
        self._tokens.append(bytes(self._buffer[:length]))
        del self._buffer[:length]
        self._literal = None
        return True

    def _take_line(self, line: bytes) -> None:
        literal = _LITERAL.search(line)
        self._tokens += _tokens(line[: literal.start()] if literal else line)
        if literal is None:
            tokens, self._tokens = self._tokens, []
            self._command(tokens)
        elif int(literal[1]) > (self.provider.config.size_limit if self.user is not None else MAX_LINE):
            self._refuse_line()
            self._close()
        else:
            self._literal = int(literal[1])
            if not literal[2]:
                self._out.append(b"+ Go on\r\n")

    def _command(self, tokens: list[bytes]) -> None:
        words = [token.decode("utf-8", "surrogateescape") for token in tokens]
        self._tag = words[0] if words else "*"
        name, arguments = words[1].upper() if len(words) > 1 else "", words[2:]
        if name in _ANY_STATE:
            _ANY_STATE[name](self, arguments)
        elif name in _LOGGED_OUT and self.user is None:
            _LOGGED_OUT[name](self, arguments)
        elif name in _LOGGED_IN and self.user is not None:
            _LOGGED_IN[name](self, arguments)
        elif name in FOLDER_COMMANDS and self.user is not None:
            self._visit(self.user, name, arguments)
        else:
            self._end("BAD Unknown command, or not now")

    def _capability(self, _: list[str]) -> None:
        self._untagged(f"CAPABILITY {self._capabilities}")
        self._end("OK done")

    def _noop(self, _: list[str]) -> None:
        self._tell_news()
        self._end("OK done")

    def _logout(self, _: list[str]) -> None:
        self._untagged("BYE")
        self._end("OK done")
        self._close()

    def _starttls(self, _: list[str]) -> None:
        if self._offers_starttls:
            self._start_tls(f"{self._tag} OK Begin TLS\r\n".encode())
        else:
            self._end("BAD No TLS here")

    def _login(self, arguments: list[str]) -> None:
        if self._offers_starttls:
            self._end("NO [PRIVACYREQUIRED] STARTTLS first")
        elif len(arguments) != 2:
            self._end("BAD LOGIN takes a name and a password")
        else:
            self._admit(sasl.Claim(arguments[0], arguments[1], "password"))

    def _authenticate(self, arguments: list[str]) -> None:
        mechanism = arguments[0].upper() if arguments else ""
        if self._offers_starttls:
            self._end("NO [PRIVACYREQUIRED] STARTTLS first")
        elif mechanism not in ("PLAIN", "XOAUTH2"):
            self._end("NO Unknown mechanism")
        else:
            self._mechanism = mechanism
            if len(arguments) > 1:
                self._answer(arguments[1].encode())
            else:
                self._out.append(b"+ \r\n")

    def _answer(self, line: bytes) -> None:
        mechanism, self._mechanism = self._mechanism, ""
        response = sasl.decode(line)
        if mechanism == "XOAUTH2-REFUSED":
            self._end("NO [AUTHENTICATIONFAILED] Invalid credentials")
        elif line == b"*" or response is None:
            self._end("BAD Cancelled or not base64")
        else:
            self._admit((sasl.read_plain if mechanism == "PLAIN" else sasl.read_xoauth2)(response), mechanism)

    def _admit(self, claim: sasl.Claim | None, mechanism: str = "") -> None:
        user = self.provider.log_in("imap", claim) if claim else None
        refusal = self.provider.refuse_visit(user) if user is not None else None
        if refusal is not None:
            self._end(refusal)
        elif user is not None:
            self._enter(user)
            if self.provider.strikes("imap_alert", user.mailbox):
                self._untagged("OK [ALERT] Your storage is almost full")
            self._end(f"OK [CAPABILITY {self._capabilities}] Logged in")
        elif mechanism == "XOAUTH2":
            self._mechanism = "XOAUTH2-REFUSED"
            self._out.append(b"+ " + sasl.XOAUTH2_REFUSAL + b"\r\n")
        else:
            self._end("NO [AUTHENTICATIONFAILED] Invalid credentials")

    def _idle(self, _: list[str]) -> None:
        if self._opened is None or not self.provider.habits.idle:
            self._end("BAD Open a folder first, or no IDLE here")
            return
        self._is_idle = True
        self._out.append(b"+ idling\r\n")
        self._tell_news()

    def _end_idle(self, line: bytes) -> None:
        self._is_idle = False
        self._end("OK done" if line.upper() == b"DONE" else "BAD Expected DONE")

    def _open(self, opened: Opened | None) -> None:
        """Puts another folder, or none, in front of this connection."""
        if self._opened is not None:
            self._opened.folder.watchers.remove(self._watch)
        self._opened, self._news = opened, []
        if opened is not None:
            opened.folder.watchers.append(self._watch)

    def _watch(self, told: str) -> None:
        self._news.append(told)
        if self._is_idle:
            self._tell_news()
            self._flush()

    def _tell_news(self) -> None:
        for told in self._news:
            self._untagged(told)
        self._news = []

    def _leave(self) -> None:
        self._open(None)
        super()._leave()

    def _read(self, arguments: list[str]) -> None:
        """A command that reads, with the faults of reading."""
        assert self.user is not None and self._opened is not None
        answer = answer_uid(self._opened, arguments)
        mailbox, is_fetch = self.user.mailbox, arguments[:1] == ["FETCH"]
        if is_fetch and self.provider.strikes("imap_drop", mailbox):
            self._out.append(answer.data[: len(answer.data) // 2])
            self._waiting = True
            self.abort()
            return
        self._out.append(answer.data)
        if is_fetch and self.provider.strikes("imap_slow", mailbox):
            self._waiting = True
            delay = self.provider.config.faults.slow_seconds
            self._timer = asyncio.get_running_loop().call_later(delay, self._resume, answer.end)
        else:
            self._end(answer.end)

    def _resume(self, end: str) -> None:
        self._waiting = False
        self._end(end)
        self._work()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _visit(self, user: User, name: str, arguments: list[str]) -> None:
        """A command about folders."""
        answer = answer_folders(self.provider, user.mailbox, name, arguments)
        self._out.append(answer.data)
        if name in ("SELECT", "EXAMINE", "CLOSE", "UNSELECT"):
            self._open(answer.opened)
        self._end(answer.end)

    def _uid(self, arguments: list[str]) -> None:
        if self._opened is None:
            self._end("BAD Open a folder first")
        else:
            self._read([word.upper() if number == 0 else word for number, word in enumerate(arguments)])


_ANY_STATE: dict[str, Callable[[ImapConnection, list[str]], None]] = {
    "CAPABILITY": ImapConnection._capability,
    "NOOP": ImapConnection._noop,
    "LOGOUT": ImapConnection._logout,
}
_LOGGED_OUT: dict[str, Callable[[ImapConnection, list[str]], None]] = {
    "STARTTLS": ImapConnection._starttls,
    "LOGIN": ImapConnection._login,
    "AUTHENTICATE": ImapConnection._authenticate,
}
_LOGGED_IN: dict[str, Callable[[ImapConnection, list[str]], None]] = {
    "IDLE": ImapConnection._idle,
    "UID": ImapConnection._uid,
}


def _tokens(line: bytes) -> list[bytes]:
    """Atoms, quoted strings without their quotes, parenthesised lists whole."""
    found = []
    for match in _TOKEN.finditer(line):
        quoted, listed, atom = match.groups()
        found.append(_ESCAPED.sub(rb"\1", quoted) if quoted is not None else listed or atom)
    return found
