"""A campaign's letters on trial: as a contact would get them, but for their Message-ID and an opt-out that is none."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mailfleet.base.db import Connection
from mailfleet.base.errors import InputError
from mailfleet.intake.campaign_file import CampaignFile
from mailfleet.intake.campaign_pool import PoolMailbox, load_mailboxes
from mailfleet.intake.campaign_store import QUERIES
from mailfleet.intake.toml_file import did_you_mean
from mailfleet.mail.addresses import parse_address
from mailfleet.mail.compose import Letter, new_message_id
from mailfleet.mail.wording import Recipient, Thread, Wording, compile_wording, write

PREVIEW_TOKEN = "preview-this-link-is-not-valid"  # `mail.opt_out` reads no message out of it


@dataclass(frozen=True, slots=True)
class TrialWording:
    """A variant of a step, compiled; `place` names it."""

    step: int
    variant: str
    place: str
    wording: Wording


@dataclass(frozen=True, slots=True)
class Preview:
    """`notes`: why this letter would not leave, or not in this way."""

    letter: Letter
    notes: tuple[str, ...]


def compile_wordings(campaign: CampaignFile) -> list[TrialWording]:
    """Every variant of every step, in their order. InputError names template and line."""
    found = []
    for number, step in enumerate(campaign.steps, 1):
        for variant in step.variants:
            place = f"step {number}, variant {variant.name}"
            wording = compile_wording(place, variant.subject, variant.text, variant.html)
            found.append(TrialWording(number, variant.name, place, wording))
    return found


def write_trial(
    trial: TrialWording,
    mailbox: PoolMailbox,
    recipient: Recipient,
    thread: Thread | None,
    *,
    opt_out_base_url: str,
    date: datetime,
) -> Letter:
    """The letter as the sender would write it. InputError when it would have a hole."""
    return write(
        trial.wording,
        mailbox,
        recipient,
        thread,
        header_id=trial_id(mailbox, trial.step),
        date=date,
        opt_out_base_url=opt_out_base_url,
        token=PREVIEW_TOKEN,
    )


def trial_id(mailbox: PoolMailbox, step: int) -> str:
    return new_message_id(mailbox.address.domain_ascii, token=f"preview-step-{step}")


def preview(
    connection: Connection, campaign: CampaignFile, address: str, *, step: int = 1, variant: str | None = None
) -> Preview:
    """One contact's letter, from its own mailbox or else the pool's first. InputError: a hole, or no such letter."""
    contact = connection.execute(QUERIES["contact"], {"address": parse_address(address).normalised}).fetchone()
    if contact is None:
        raise InputError(f"There is no contact {address}.", hint="`mailfleet import contacts` takes them in.")
    trials = compile_wordings(campaign)
    trial = _choose(trials, step, variant)
    mailboxes = {box.id: box for box in load_mailboxes(connection, campaign)}
    if not mailboxes:
        raise InputError(f"No mailbox of the identity {campaign.identity} is in the pool of {campaign.name}.")
    mailbox = mailboxes.get(contact.mailbox_id) or next(iter(mailboxes.values()))
    recipient = Recipient.of_row(contact)
    identity = connection.execute(QUERIES["identity"], {"name": campaign.identity}).fetchone()
    assert identity is not None
    means = {"opt_out_base_url": identity.opt_out_base_url, "date": datetime.now(UTC)}
    thread = None
    if step > 1:
        values = {"campaign": campaign.name, "contact": contact.id, "step": step}
        sent = connection.execute(QUERIES["thread"], values).fetchall()
        thread = (
            Thread(tuple(row.header_id for row in sent), sent[0].subject)
            if sent
            else trial_thread(mailbox, step, write_trial(trials[0], mailbox, recipient, None, **means).subject)
        )
    letter = write_trial(trial, mailbox, recipient, thread, **means)
    return Preview(letter, tuple(_notes(contact, mailboxes)))


def trial_thread(mailbox: PoolMailbox, step: int, subject: str) -> Thread:
    return Thread(tuple(trial_id(mailbox, number) for number in range(1, step)), subject)


def _choose(trials: list[TrialWording], step: int, variant: str | None) -> TrialWording:
    of_step = {trial.variant: trial for trial in trials if trial.step == step}
    if not of_step:
        raise InputError(f"There is no step {step}: the campaign has {trials[-1].step if trials else 0}.")
    if variant is None:
        return next(iter(of_step.values()))
    if variant not in of_step:
        raise InputError(f"Step {step} has no variant {variant}{did_you_mean(variant, of_step)}: {', '.join(of_step)}.")
    return of_step[variant]


def _notes(contact: Any, mailboxes: Mapping[int, PoolMailbox]) -> Iterator[str]:
    if contact.is_suppressed:
        yield "It would not leave: the contact is suppressed."
    if contact.lawful_basis == "none":
        yield "It would not leave: the contact has no lawful basis."
    if contact.mailbox_id is not None and contact.mailbox_id not in mailboxes:
        yield "It would not leave: the contact's own mailbox is not in the campaign's pool; another is shown."
