"""`campaign check`: every letter written on trial for every contact, and what is wrong, grouped by its reason."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from mailfleet.base.db import Connection
from mailfleet.base.errors import InputError
from mailfleet.intake.campaign_file import CONTACT_ZONE, CampaignFile
from mailfleet.intake.campaign_launch import Audience, audience_obstacles, count_audience, find_obstacles
from mailfleet.intake.campaign_letters import (
    TrialWording,
    compile_wordings,
    trial_thread,
    write_trial,
)
from mailfleet.intake.campaign_pool import PoolMailbox, load_mailboxes
from mailfleet.intake.campaign_store import QUERIES, stream
from mailfleet.intake.values import parse_zone
from mailfleet.mail.addresses import parse_address
from mailfleet.mail.compose import compose, needs_smtputf8
from mailfleet.mail.opt_out import check_base_url
from mailfleet.mail.templates import TemplateHole
from mailfleet.mail.wording import Recipient, Thread

_EXAMPLES = 5  # chosen: enough to find the rest in the list
_PLACES = 6  # chosen: letters named in one line
_STEP = 500  # chosen: contacts between two moves of the progress
_ANYWHERE = "https://opt-out.test"  # stands for an opt-out address that is itself an obstacle


class Fault(StrEnum):
    """What a contact, or a mailbox, can have against it; the same words as where it would come to light."""

    HOLE = "hole"
    LETTER = "letter"
    MAILBOX = "mailbox"
    NO_MAILBOX = "outside_pool"
    NO_BASIS = "no_lawful_basis"
    UNKNOWN_ZONE = "unknown_zone"
    SUPPRESSED = "suppressed"
    SMTPUTF8 = "smtputf8"


NOTES = frozenset({Fault.SUPPRESSED, Fault.SMTPUTF8})
"""Nothing is wrong with the campaign: such a contact is left out, or needs a server that not every provider has."""


@dataclass(slots=True)
class Finding:
    """One reason: how many contacts (mailboxes, if `fault` is MAILBOX) it meets, some of them, and in which letters."""

    fault: Fault
    text: str
    count: int = 0
    examples: list[str] = field(default_factory=list)
    places: dict[str, None] = field(default_factory=dict)

    @property
    def is_wrong(self) -> bool:
        return self.fault not in NOTES

    def meet(self, subject: str, places: Iterable[str]) -> None:
        self.count += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(subject)
        for place in places:
            if len(self.places) < _PLACES:
                self.places[place] = None


@dataclass(frozen=True, slots=True)
class CheckReport:
    """`letters` were written on trial. Findings: what is wrong first, the commonest first."""

    audience: Audience
    mailboxes: int
    letters: int
    obstacles: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def is_clean(self) -> bool:
        return not self.obstacles and not any(finding.is_wrong for finding in self.findings)


def check_campaign(
    connection: Connection,
    campaign: CampaignFile,
    *,
    campaign_id: int | None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CheckReport:
    """Looks at all that a launch and its letters depend on, and writes nothing to the database.

    Contacts are streamed. Each is written to from its own mailbox or, while it has none, from the pool's in turn; and
    each mailbox writes once to a contact who has everything, so that a missing signature is found and named.
    """
    mailboxes = load_mailboxes(connection, campaign)
    audience = count_audience(connection, campaign, campaign_id=campaign_id)
    obstacles = [*find_obstacles(connection, campaign, mailboxes), *audience_obstacles(audience)]
    identity = connection.execute(QUERIES["identity"], {"name": campaign.identity}).fetchone()
    assert identity is not None
    trial = _Trial(campaign, mailboxes, identity.opt_out_base_url)
    if mailboxes:
        trial.check_mailboxes()
    for done, row in enumerate(stream(connection, "contacts", {"lists": list(campaign.lists)})):
        trial.check_contact(row)
        if done % _STEP == 0:
            progress(done, audience.contacts)
    progress(audience.contacts, audience.contacts)
    return CheckReport(audience, len(mailboxes), trial.letters, tuple(obstacles), trial.findings())


class _Anyone(dict[str, str]):
    """A contact who has every field a template may ask for."""

    def __missing__(self, name: str) -> str:
        return "x"


_ANYONE = Recipient(parse_address("anyone@contact.test"), "Anyone", _Anyone())
_Met = dict[tuple[Fault, str], list[str]]
"""What was met in the letters of one contact or mailbox: the reason, to the places."""


class _Trial:
    """One check: letters written, and what was found so far, which grows with the reasons and not with the contacts."""

    def __init__(self, campaign: CampaignFile, mailboxes: list[PoolMailbox], opt_out_base_url: str) -> None:
        self.letters = 0
        self._by_id = {box.id: box for box in mailboxes}
        self._in_turn = mailboxes
        self._trials = compile_wordings(campaign)
        self._in_contact_zone = campaign.window.zone == CONTACT_ZONE
        self._base_url = opt_out_base_url if _is_base_url(opt_out_base_url) else _ANYWHERE
        self._date = datetime.now(UTC)
        self._found: dict[tuple[Fault, str], Finding] = {}
        self._contacts = 0

    def findings(self) -> tuple[Finding, ...]:
        return tuple(sorted(self._found.values(), key=lambda found: (not found.is_wrong, -found.count)))

    def check_mailboxes(self) -> None:
        """Afterwards contacts without a mailbox are written to from those that are whole, if there is one."""
        whole = []
        for box in self._in_turn:
            met: _Met = defaultdict(list)
            self._write_all(box, _ANYONE, met)
            wrong = {text: places for (fault, text), places in met.items() if fault not in NOTES}
            for text, places in wrong.items():
                self._meet(Fault.MAILBOX, text, box.address.original, places)
            if not wrong:
                whole.append(box)
        self._in_turn = whole or self._in_turn

    def check_contact(self, row: Any) -> None:
        if row.is_suppressed:
            self._meet(Fault.SUPPRESSED, "suppressed: never written to", row.address)
            return
        if row.lawful_basis == "none":
            self._meet(Fault.NO_BASIS, "no lawful basis: not enrolled", row.address)
        if self._in_contact_zone and row.time_zone and not _is_zone(row.time_zone):
            self._meet(Fault.UNKNOWN_ZONE, "unknown time zone: not planned", f"{row.address} ({row.time_zone})")
        if self._in_turn:
            met: _Met = defaultdict(list)
            self.letters += self._write_all(self._mailbox_for(row), Recipient.of_row(row), met)
            for (fault, text), places in met.items():
                self._meet(fault, text, row.address, places)

    def _mailbox_for(self, row: Any) -> PoolMailbox:
        self._contacts += 1
        if row.mailbox_id is not None:
            if row.mailbox_id in self._by_id:
                return self._by_id[row.mailbox_id]
            text = "the mailbox that writes to them for life is not in the pool: not planned"
            self._meet(Fault.NO_MAILBOX, text, row.address)
        return self._in_turn[self._contacts % len(self._in_turn)]

    def _write_all(self, box: PoolMailbox, recipient: Recipient, met: _Met) -> int:
        """How many of the letters could be written."""
        first_subject, written = "", 0
        for trial in self._trials:
            thread = trial_thread(box, trial.step, first_subject or "x") if trial.step > 1 else None
            subject = self._write(trial, box, recipient, thread, met)
            first_subject = first_subject or subject
            written += bool(subject)
        return written

    def _write(
        self, trial: TrialWording, box: PoolMailbox, recipient: Recipient, thread: Thread | None, met: _Met
    ) -> str:
        """The subject, or nothing when the letter cannot be written."""
        try:
            letter = write_trial(trial, box, recipient, thread, opt_out_base_url=self._base_url, date=self._date)
            compose(letter)
        except TemplateHole as hole:
            met[Fault.HOLE, f"{hole.variable} is missing or blank: not sent"].append(hole.where)
            return ""
        except InputError as error:
            met[Fault.LETTER, str(error).removeprefix(f"{error.where}: ")].append(error.where or trial.place)
            return ""
        if needs_smtputf8(letter):
            met[Fault.SMTPUTF8, "only a server that offers SMTPUTF8 takes their letters"].append(trial.place)
        return letter.subject

    def _meet(self, fault: Fault, text: str, subject: str, places: Iterable[str] = ()) -> None:
        self._found.setdefault((fault, text), Finding(fault, text)).meet(subject, places)


def _is_base_url(text: str) -> bool:
    try:
        check_base_url(text)
    except InputError:
        return False
    return True


@lru_cache(maxsize=4096)
def _is_zone(name: str) -> bool:
    try:
        parse_zone(name)
    except ValueError:
        return False
    return True
