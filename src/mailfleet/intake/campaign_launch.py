"""Starting, pausing and stopping a campaign: what stands in the way of a launch, and the launch itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mailfleet.base.db import Connection
from mailfleet.base.errors import InputError
from mailfleet.intake.campaign_file import CampaignFile, Variant
from mailfleet.intake.campaign_pool import PoolMailbox, daily_capacity, load_daily_limits, load_mailboxes
from mailfleet.intake.campaign_store import QUERIES, StoredCampaign, read_stored
from mailfleet.intake.footer import is_complete
from mailfleet.mail.opt_out import check_base_url
from mailfleet.model.words import UNTIL_DECIDED, CampaignState
from mailfleet.outbox.stops import set_campaign_state

_LAUNCHED_FROM = (CampaignState.DRAFT, CampaignState.PAUSED)
_FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class Audience:
    """The contacts of a campaign's lists, each once. `eligible`: those whom a launch would enroll now."""

    contacts: int
    suppressed: int
    no_basis: int
    enrolled: int
    eligible: int


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What a launch would do, for a person to approve. `capacity`: letters a day at most. It may go when `obstacles`
    is empty."""

    stored: StoredCampaign
    obstacles: tuple[str, ...]
    audience: Audience
    mailboxes: int
    capacity: int

    @property
    def letters(self) -> int:
        """Of the contacts to be enrolled, when nobody answers."""
        return self.audience.eligible * len(self.stored.content.steps)


def plan_launch(connection: Connection, name: str) -> LaunchPlan:
    """Reads all that a launch depends on; writes nothing."""
    stored = read_stored(connection, name)
    mailboxes = load_mailboxes(connection, stored.content)
    audience = count_audience(connection, stored.content, campaign_id=stored.id)
    obstacles = (*find_obstacles(connection, stored.content, mailboxes), *audience_obstacles(audience))
    capacity = daily_capacity(mailboxes, load_daily_limits(connection), campaign=str(stored.id))
    return LaunchPlan(stored, obstacles, audience, len(mailboxes), capacity)


def launch(connection: Connection, shown: LaunchPlan, *, was: CampaignState, reason: str) -> int:
    """Starts a draft or resumes a paused campaign; how many contacts were enrolled. One transaction, all or nothing.

    1. looks again; InputError with every obstacle, or when more than was shown would happen. 2. enrolls whom it may
    write to. 3. lets it run: the stop lock is ours from here on. 4. pauses those whose mail came in during the second.
    The planner paces all of it.
    """
    name = shown.stored.content.name
    with connection.transaction():
        plan = plan_launch(connection, name)
        check_launch(plan, was=was)
        if plan.stored != shown.stored or plan.audience.eligible > shown.audience.eligible:
            raise InputError(
                f"The campaign {name} changed while you looked at it; nothing was started.", hint="Run it again."
            )
        values = {"campaign": plan.stored.id, "until_decided": UNTIL_DECIDED}
        enrolled = connection.execute(QUERIES["enroll"], values).rowcount
        connection.execute(QUERIES["check_enrolled"])
        set_campaign_state(connection, name, CampaignState.RUNNING, was=[was], reason=reason)
        connection.execute(QUERIES["pause_asked"], values)
    return enrolled


def check_launch(plan: LaunchPlan, *, was: CampaignState) -> None:
    """InputError when the campaign is in another state, or with all that stands in the way."""
    name, state = plan.stored.content.name, plan.stored.state
    if state is not was:
        hints = {
            CampaignState.DRAFT: f"`mailfleet campaign start {name}` starts it.",
            CampaignState.PAUSED: f"`mailfleet campaign resume {name}` lets it go on.",
            CampaignState.RUNNING: "",
        }
        raise InputError(f"The campaign {name} is {state}.", hint=hints.get(state, "That is final."))
    if plan.obstacles:
        raise InputError(
            "\n  - ".join([f"The campaign {name} cannot run; nothing was changed:", *plan.obstacles]),
            hint=f"Mend all of them, then `mailfleet campaign check {name}`.",
        )


def pause(connection: Connection, name: str, *, reason: str) -> None:
    """Nothing of it is reserved from now on; the planner takes back what is queued."""
    set_campaign_state(connection, name, CampaignState.PAUSED, was=[CampaignState.RUNNING], reason=reason)


def stop(connection: Connection, name: str, *, reason: str) -> int:
    """Ends a campaign for good; how many enrollments ended. The planner cancels the letters that wait.

    1. the state: nothing leaves after it. 2. the enrollments, which many of may be. Dies between: call it again.
    """
    stored = read_stored(connection, name)
    if stored.state is not CampaignState.STOPPED:
        set_campaign_state(
            connection, name, CampaignState.STOPPED, was=[*_LAUNCHED_FROM, CampaignState.RUNNING], reason=reason
        )
    values = {"campaign": stored.id, "reason": f"the campaign was stopped: {reason}"}
    ended = connection.execute(QUERIES["end_enrollments"], values).rowcount
    for row in connection.execute(QUERIES["active_enrollments"], values).fetchall():
        ended += connection.execute(QUERIES["end_enrollment"], {**values, "enrollment": row.id}).rowcount
    return ended


def count_audience(connection: Connection, campaign: CampaignFile, *, campaign_id: int | None) -> Audience:
    values = {"lists": list(campaign.lists), "campaign": campaign_id}
    row = connection.execute(QUERIES["audience"], values).fetchone()
    assert row is not None
    return Audience(**row._asdict())


def find_obstacles(connection: Connection, campaign: CampaignFile, mailboxes: Sequence[PoolMailbox]) -> Iterator[str]:
    """What of identity, letters, pool and providers forbids a launch, one sentence each."""
    row = connection.execute(QUERIES["identity"], {"name": campaign.identity}).fetchone()
    yield from _identity_obstacles(row)
    for number, step in enumerate(campaign.steps, 1):
        for variant in step.variants:
            yield from _letter_obstacles(f"step {number}, variant {variant.name}", variant)
    if not campaign.steps:
        yield "it has no step"
    if not mailboxes:
        yield f"no mailbox of the identity {campaign.identity} is in its pool"
    for policy in {box.policy.provider: box.policy for box in mailboxes}.values():
        if policy.policy == _FORBIDDEN and not policy.acknowledgement.strip():
            yield (
                f"the provider {policy.provider} forbids outreach ({policy.source or 'no source'}) and nobody has"
                " answered for it: set acknowledge_policy in fleet.toml"
            )


def audience_obstacles(audience: Audience) -> Iterator[str]:
    """There must be somebody whom the campaign may write to."""
    if audience.eligible or audience.enrolled:
        return
    if not audience.contacts:
        yield "its lists hold no contact"
    elif audience.no_basis:
        yield f"no contact has a lawful basis ({audience.no_basis} without, {audience.suppressed} suppressed)"
    else:
        yield "every contact is suppressed"


def _identity_obstacles(identity: Any) -> Iterator[str]:
    """Law and RFC 8058: who writes, from where, and the way out."""
    for field in ("legal_name", "postal_address"):
        if not getattr(identity, field).strip():
            yield f"the identity {identity.name} has no {field.replace('_', ' ')}"
    if not identity.opt_out_base_url.strip():
        yield f"the identity {identity.name} has no address for the opt-out (opt_out_base_url)"
        return
    try:
        check_base_url(identity.opt_out_base_url)
    except InputError as error:
        yield f"the identity {identity.name}: {error}"


def _letter_obstacles(where: str, variant: Variant) -> Iterator[str]:
    """A part that is not there needs no opt-out; the text of a letter that is HTML alone is derived from it."""
    for kind, source in (("text", variant.text), ("HTML", variant.html)):
        if source.strip() and not is_complete(source, html=kind == "HTML"):
            yield f"{where}: its {kind} does not show the opt-out link and the postal address to every reader"
