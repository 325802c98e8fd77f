"""Hands notices to the services that carry them, through apprise: e-mail, Telegram, Slack, webhooks and many more.

apprise waits for its network, and says what failed in its log alone, beside addresses that hold secrets. So each target
has a thread and a deadline, and of the log a known few words are taken. It is imported when it is needed: that takes
half a second.
"""

import logging
import re
import threading
import warnings
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from mailfleet.base.clock import monotonic
from mailfleet.base.errors import InputError
from mailfleet.health.alerts.notice import Notice

DEADLINE = timedelta(seconds=10)  # chosen: most services answer in one; a judgement may wait so long, once a minute
LOGGER = "apprise"
NETWORK_LOGGER = "urllib3"  # of its webhooks; it writes their paths

_SAID = (
    (re.compile(r"\berror=(\d{3})\b"), "it answered HTTP {}"),
    (re.compile(r"\((\d{3}), b['\"]"), "its mail server answered {}"),
    (re.compile(r"\[Errno -?\d+\] ([A-Z][a-z]+(?: [a-z]+){0,5})"), "it was not reached: {}"),
    (re.compile(r"certificate verify failed"), "its certificate is not trusted"),
    (re.compile(r"timed out"), "it was not reached in time"),
)
_NOWHERE = logging.NullHandler()
_loading = threading.Lock()


def service_of(url: str) -> str:
    """The name of the service that an apprise URL is for. InputError when it is for none."""
    server = _apprise().Apprise.instantiate(url)
    if server is None:
        raise InputError(
            "This is the address of no service that takes notices.",
            hint="Write it as apprise does, such as mailtos://…, tgram://…, slack://…, json://…; see docs/alerts.md.",
        )
    return str(server.service_name)


def post(urls: Mapping[str, str], notice: Notice, *, deadline: timedelta = DEADLINE) -> dict[str, str]:
    """Gives a notice to each target (name → URL) at once; of each what failed, empty when it took the notice.

    Returns within the deadline. A target that has not answered by then may still take it; until it has let go of that
    notice it gets no other.
    """
    apprise = _apprise()
    under_way = {thread.name for thread in threading.enumerate()}
    errands = [_Errand(apprise, name, url, notice) for name, url in urls.items()]
    started = [errand for errand in errands if errand.name not in under_way]
    for errand in started:
        errand.start()
    ends_at = monotonic() + deadline.total_seconds()
    for errand in started:
        errand.join(max(0.0, ends_at - monotonic()))
    return {errand.target: errand.fault for errand in errands}


class _Errand(threading.Thread):
    """One notice on its way to one target. `fault` is empty once it was taken."""

    def __init__(self, apprise: Any, target: str, url: str, notice: Notice) -> None:
        super().__init__(name=f"alert to {target}", daemon=True)
        self.target, self.fault = target, "it did not answer in time"
        self._apprise, self._url, self._notice = apprise, url, notice

    def run(self) -> None:
        asset = self._apprise.AppriseAsset(
            app_id="Mailfleet", app_desc="Mailfleet", async_mode=False, pgp_autogen=False, pem_autogen=False
        )
        door = self._apprise.Apprise(asset=asset)
        with _Ear() as ear:
            is_known = door.add(self._url)
            is_taken = is_known and door.notify(
                title=self._notice.title, body=self._notice.body, body_format=self._apprise.NotifyFormat.TEXT
            )
        self.fault = "" if is_taken else ear.heard


class _Ear(logging.Handler):
    """What apprise says in this thread, as one of the sentences that hold no part of an address."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard = "it did not take the notice"
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            text = record.getMessage()
            for pattern, sentence in _SAID:
                if found := pattern.search(text):
                    self.heard = sentence.format(*found.groups())
                    return

    def __enter__(self) -> "_Ear":
        logging.getLogger(LOGGER).addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger(LOGGER).removeHandler(self)


def _apprise() -> Any:
    """The library, with all its services loaded, silent on stderr; what it deprecates is no news to our user."""
    with _loading, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in (LOGGER, NETWORK_LOGGER):
            log = logging.getLogger(name)
            log.propagate = False
            log.addHandler(_NOWHERE)
        logging.getLogger(LOGGER).setLevel(logging.DEBUG)
        import apprise

        apprise.Apprise.instantiate("json://localhost")
    return apprise
