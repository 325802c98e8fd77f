"""The IMAP face (RFC 3501, SASL-IR 4959, SPECIAL-USE 6154): what a login check asks, and the folders it looks at."""

import re
from collections.abc import Callable
from fnmatch import translate

from mailfleet.providers.sandbox import sasl
from mailfleet.providers.sandbox.config import User
from mailfleet.providers.sandbox.mailbox_store import Folder
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
    _folder: Folder | None = None

    def _greet(self) -> None:
        self._tokens: list[bytes] = []
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
        words = ["IMAP4rev1", "SASL-IR", "LITERAL+", "SPECIAL-USE"]
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
        elif int(literal[1]) > MAX_LINE:
            self._refuse_line()
            self._close()
        else:
            self._literal = int(literal[1])
            if not literal[2]:
                self._out.append(b"+ Go on\r\n")

    def _command(self, tokens: list[bytes]) -> None:
        words = [token.decode("utf-8", "replace") for token in tokens]
        self._tag = words[0] if words else "*"
        name, arguments = words[1].upper() if len(words) > 1 else "", words[2:]
        if name in _ANY_STATE:
            _ANY_STATE[name](self, arguments)
        elif name in _LOGGED_OUT and self.user is None:
            _LOGGED_OUT[name](self, arguments)
        elif name in _LOGGED_IN and self.user is not None:
            _LOGGED_IN[name](self, self.user, arguments)
        else:
            self._end("BAD Unknown command, or not now")

    def _capability(self, _: list[str]) -> None:
        self._untagged(f"CAPABILITY {self._capabilities}")
        self._end("OK done")

    def _noop(self, _: list[str]) -> None:
        if self._folder is not None:
            self._untagged(f"{len(self._folder.messages)} EXISTS")
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
        if user is not None:
            self._enter(user)
            self._end(f"OK [CAPABILITY {self._capabilities}] Logged in")
        elif mechanism == "XOAUTH2":
            self._mechanism = "XOAUTH2-REFUSED"
            self._out.append(b"+ " + sasl.XOAUTH2_REFUSAL + b"\r\n")
        else:
            self._end("NO [AUTHENTICATIONFAILED] Invalid credentials")

    def _list(self, user: User, arguments: list[str]) -> None:
        special_only = bool(arguments) and arguments[0].upper() == "(SPECIAL-USE)"
        arguments = arguments[special_only:]
        if len(arguments) < 2:
            self._end("BAD LIST takes a reference and a pattern")
            return
        pattern = re.compile(translate((arguments[0] + arguments[1]).replace("%", "*")), re.IGNORECASE)
        for folder in self.provider.mailboxes.folders(user.mailbox):
            if pattern.match(folder.name) and not (special_only and folder.name == "INBOX"):
                self._untagged(f'LIST ({" ".join(folder.attributes)}) "/" "{folder.name}"')
        self._end("OK done")

    def _status(self, user: User, arguments: list[str]) -> None:
        folder = self.provider.mailboxes.folder(user.mailbox, arguments[0]) if len(arguments) == 2 else None
        if folder is None:
            self._end("NO [NONEXISTENT] No such folder")
            return
        known = _counts(folder)
        items = [item for item in arguments[1].strip("()").upper().split() if item in known]
        self._untagged(f'STATUS "{folder.name}" ({" ".join(f"{item} {known[item]}" for item in items)})')
        self._end("OK done")

    def _open(self, user: User, arguments: list[str], access: str) -> None:
        self._folder = self.provider.mailboxes.folder(user.mailbox, arguments[0]) if arguments else None
        if self._folder is None:
            self._end("NO [NONEXISTENT] No such folder")
            return
        counts = _counts(self._folder)
        self._untagged(r"FLAGS (\Answered \Flagged \Deleted \Seen \Draft)")
        self._untagged(f"{counts['MESSAGES']} EXISTS")
        self._untagged("0 RECENT")
        self._untagged(f"OK [UIDVALIDITY {counts['UIDVALIDITY']}]")
        self._untagged(f"OK [UIDNEXT {counts['UIDNEXT']}]")
        self._end(f"OK [{access}] done")

    def _select(self, user: User, arguments: list[str]) -> None:
        self._open(user, arguments, "READ-WRITE")

    def _examine(self, user: User, arguments: list[str]) -> None:
        self._open(user, arguments, "READ-ONLY")

    def _shut(self, _user: User, _: list[str]) -> None:
        self._folder = None
        self._end("OK done")


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
_LOGGED_IN: dict[str, Callable[[ImapConnection, User, list[str]], None]] = {
    "LIST": ImapConnection._list,
    "STATUS": ImapConnection._status,
    "SELECT": ImapConnection._select,
    "EXAMINE": ImapConnection._examine,
    "CLOSE": ImapConnection._shut,
}


def _counts(folder: Folder) -> dict[str, int]:
    count = len(folder.messages)
    return {
        "MESSAGES": count,
        "RECENT": 0,
        "UIDNEXT": folder.uid_next,
        "UIDVALIDITY": folder.uid_validity,
        "UNSEEN": count,
    }


def _tokens(line: bytes) -> list[bytes]:
    """Atoms, quoted strings without their quotes, parenthesised lists whole."""
    found = []
    for match in _TOKEN.finditer(line):
        quoted, listed, atom = match.groups()
        found.append(_ESCAPED.sub(rb"\1", quoted) if quoted is not None else listed or atom)
    return found
