"""Campaigns in the database, as their files describe them: named, compared, written, read back."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import Any

from mailfleet.base.db import Connection, load_queries
from mailfleet.base.errors import InputError
from mailfleet.intake.campaign_diff import diff_campaigns
from mailfleet.intake.campaign_file import WEEKDAYS, CampaignFile, ContactWindow, Step, Variant
from mailfleet.intake.pool import Pool, pool_of, rule_of
from mailfleet.intake.toml_file import TomlFile, did_you_mean
from mailfleet.intake.toml_lines import KeyPath
from mailfleet.model.words import CampaignState, ReplyStops
from mailfleet.outbox.service import PLANNER_LOCK

QUERIES = load_queries("mailfleet.intake", "campaigns.sql")
CHANGEABLE = (CampaignState.DRAFT, CampaignState.PAUSED)
_SHOWN = 8  # chosen: names that a line still holds
_STREAM = 1000  # chosen: rows of a long answer held at a time

Row = Any


@dataclass(frozen=True, slots=True)
class StoredCampaign:
    """`content` is what its file would say."""

    id: int
    state: CampaignState
    reason: str
    content: CampaignFile


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file did: made the campaign, or changed what `changes` say (nothing, when empty)."""

    is_new: bool
    state: CampaignState
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StepCounts:
    """`sent`: accepted letters. Of the contacts whose next letter is this step's: `queued` have it in the queue or on
    its way, `waiting` wait to be planned, `ended` ended before it."""

    number: int
    sent: int
    queued: int
    waiting: int
    ended: int


@dataclass(frozen=True, slots=True)
class Overview:
    """`enrolled` = `finished` + the queued, waiting and ended of every step."""

    name: str
    state: str
    reason: str
    identity: str
    enrolled: int
    finished: int
    steps: tuple[StepCounts, ...]


def check_names(connection: Connection, campaign: CampaignFile, path: Path) -> tuple[str, ...]:
    """FileProblems with their lines when the file names an identity, list or pool that is not there.

    What only selects mailboxes (tags, domains and so on) may come later: what of it is unknown now, one line each.
    """
    known = {row.kind: row.names for row in connection.execute(QUERIES["known_names"]).fetchall()}
    file = TomlFile.open(path)
    named: list[tuple[KeyPath, str, str]] = [(("identity",), "identity", campaign.identity)]
    only_one = len(campaign.lists) == 1
    named += [(("list",) if only_one else ("list", at), "list", name) for at, name in enumerate(campaign.lists)]
    if isinstance(campaign.pool, str):
        named.append((("pool",), "pool", campaign.pool))
    for key, kind, name in named:
        if name not in known[kind]:
            file.report(key, f"there is no {kind} {name}{did_you_mean(name, known[kind])}; {_there_are(known[kind])}")
    file.finish()
    return () if isinstance(campaign.pool, str) else tuple(_unknown_selected(campaign.pool, known))


def _there_are(names: Sequence[str]) -> str:
    if not names:
        return "there is none yet"
    return f"there are {', '.join(names[:_SHOWN])}{' and others' if len(names) > _SHOWN else ''}"


def _unknown_selected(pool: Pool, known: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for key, selector in (("pool", pool.include), ("pool.exclude", pool.exclude)):
        for field in fields(selector):
            for name in getattr(selector, field.name):
                if name not in known[field.name]:
                    yield f"{key}.{field.name}: no mailbox has {name}{did_you_mean(name, known[field.name])}"


def find_stored(connection: Connection, name: str) -> StoredCampaign | None:
    row = connection.execute(QUERIES["campaign"], {"name": name}).fetchone()
    if row is None:
        return None
    wordings = connection.execute(QUERIES["wordings"], {"campaign": row.id}).fetchall()
    return StoredCampaign(row.id, CampaignState(row.state), row.reason, _content(row, wordings))


def read_stored(connection: Connection, name: str) -> StoredCampaign:
    """InputError names the nearest when there is no such campaign."""
    if (stored := find_stored(connection, name)) is not None:
        return stored
    names = [row.name for row in connection.execute(QUERIES["names"]).fetchall()]
    raise InputError(
        f"There is no campaign {name}{did_you_mean(name, names) or '.'}",
        hint="`mailfleet campaign list` shows them; `mailfleet campaign add FILE` makes one.",
    )


def save_campaign(connection: Connection, campaign: CampaignFile) -> Saved:
    """Makes the campaign as a draft, or changes the draft or paused one of that name; one transaction, all or nothing.

    What has a letter stays: its step, its variant (drawn no more when the file leaves it out) and the identity.
    InputError says what the file may not change. Names were checked by `check_names`.
    """
    with connection.transaction():
        connection.execute(QUERIES["lock_planner"], {"planner_lock": PLANNER_LOCK})
        if connection.execute(QUERIES["lock_campaign"], {"name": campaign.name}).fetchone() is None:
            row = connection.execute(QUERIES["insert_campaign"], _record(campaign)).fetchone()
            if row is None:
                raise InputError(f"There is no identity {campaign.identity}; nothing was written.")
            _write_content(connection, row.id, campaign)
            return Saved(is_new=True, state=CampaignState.DRAFT)
        stored = read_stored(connection, campaign.name)
        changes = diff_campaigns(stored.content, campaign)
        if changes:
            _check_change(connection, stored, campaign)
            connection.execute(QUERIES["update_campaign"], _record(campaign))
            _write_content(connection, stored.id, campaign)
        return Saved(is_new=False, state=stored.state, changes=changes)


def list_campaigns(connection: Connection) -> list[Overview]:
    """Every campaign, in the order in which they were made."""
    steps = connection.execute(QUERIES["step_counts"]).fetchall()
    by_campaign = {key: list(rows) for key, rows in groupby(steps, key=lambda row: row.campaign_id)}
    return [
        Overview(
            row.name,
            row.state,
            row.reason,
            row.identity,
            row.enrolled,
            row.finished,
            tuple(
                StepCounts(step.number, step.sent, step.queued, step.waiting, step.ended)
                for step in by_campaign.get(row.id, ())
            ),
        )
        for row in connection.execute(QUERIES["overview"]).fetchall()
    ]


def read_standings(connection: Connection, campaign_id: int, *, code: str | None = None) -> Iterator[Row]:
    """Each contact's address, state, next_step, next_at, code and reason; of one reason code only, when it is given."""
    yield from stream(connection, "standings", {"campaign": campaign_id, "code": code})


def stream(connection: Connection, name: str, values: Mapping[str, Any]) -> Iterator[Row]:
    """The rows of a long answer, a batch of them in memory at a time; one transaction."""
    with connection.transaction(), connection.cursor(name=name) as cursor:
        cursor.itersize = _STREAM
        cursor.execute(QUERIES[name], values)
        yield from cursor


def _check_change(connection: Connection, stored: StoredCampaign, new: CampaignFile) -> None:
    name = new.name
    if stored.state not in CHANGEABLE:
        over = stored.state in (CampaignState.STOPPED, CampaignState.FINISHED)
        raise InputError(
            f"The campaign {name} is {stored.state} and the file differs from it; nothing was changed.",
            hint="Give the file another name." if over else f"`mailfleet campaign pause {name}`, then add it again.",
        )
    used = [row.number for row in connection.execute(QUERIES["used_steps"], {"campaign": stored.id}).fetchall()]
    if used and new.identity != stored.content.identity:
        raise InputError(
            f"The campaign {name} has written as {stored.content.identity} and goes on so; nothing was changed.",
            hint="Give the file another name.",
        )
    if used and used[-1] > len(new.steps):
        raise InputError(
            f"Step {used[-1]} of {name} has letters and cannot go; nothing was changed.",
            hint="Its wording may change; steps after it may come and go.",
        )


def _write_content(connection: Connection, campaign_id: int, campaign: CampaignFile) -> None:
    values = {"campaign": campaign_id, "lists": list(campaign.lists), "last": len(campaign.steps)}
    connection.execute(QUERIES["drop_lists"], values)
    connection.execute(QUERIES["write_lists"], values)
    connection.execute(QUERIES["drop_steps"], values)
    connection.execute(QUERIES["finish_enrollments"], values)
    for number, step in enumerate(campaign.steps, 1):
        values |= {"number": number, "wait": step.wait, "names": [variant.name for variant in step.variants]}
        row = connection.execute(QUERIES["write_step"], values).fetchone()
        assert row is not None
        connection.execute(QUERIES["drop_variants"], {**values, "step": row.id})
        for variant in step.variants:
            connection.execute(QUERIES["write_variant"], {**asdict(variant), "step": row.id})


def _record(campaign: CampaignFile) -> dict[str, Any]:
    window = campaign.window
    days = [WEEKDAYS.index(day) + 1 for day in window.weekdays]
    return {
        "name": campaign.name,
        "identity": campaign.identity,
        "language": campaign.language,
        "pool": json.dumps(stored_rule(campaign.pool)),
        "window": json.dumps({"weekdays": days, "hours": window.hours}),
        "zone": window.zone,
        "fallback_zone": window.fallback_zone,
        "priority": campaign.priority,
        "openings_share": campaign.openings_share,
        "reply_stops": campaign.reply_stops,
    }


def stored_rule(pool: Pool | str) -> dict[str, Any]:
    """A rule of mailboxes, or the name of a pool of the fleet."""
    return {"name": pool} if isinstance(pool, str) else dict(rule_of(pool))


def _pool_of(rule: Mapping[str, Any]) -> Pool | str:
    return str(rule["name"]) if "name" in rule else pool_of(rule)


def _content(row: Row, wordings: Sequence[Row]) -> CampaignFile:
    return CampaignFile(
        name=row.name,
        identity=row.identity,
        lists=tuple(row.lists),
        language=row.language,
        pool=_pool_of(row.pool),
        window=ContactWindow(
            weekdays=tuple(WEEKDAYS[day - 1] for day in row.window.get("weekdays", ())),
            hours=tuple(row.window.get("hours", ())),
            zone=row.zone,
            fallback_zone=row.fallback_zone,
        ),
        priority=row.priority,
        openings_share=row.openings_share,
        reply_stops=ReplyStops(row.reply_stops),
        steps=tuple(_step(list(rows)) for _, rows in groupby(wordings, key=lambda wording: wording.number)),
    )


def _step(rows: Sequence[Row]) -> Step:
    return Step(rows[0].wait, tuple(Variant(row.name, row.weight, row.subject, row.text, row.html) for row in rows))
