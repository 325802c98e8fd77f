"""What a notice says. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailfleet.health.incidents import Incident, Severity
from mailfleet.model.words import Family

LONGEST_NAME = 100  # chosen: more of a title no telephone shows
LONGEST = 3000  # chosen: Telegram takes 4,096 characters, and one message is read where five are not


@dataclass(frozen=True, slots=True)
class Notice:
    """Plain text, both of it."""

    title: str
    body: str


TEST_NOTICE = Notice("Mailfleet: a test", "Incidents of your fleet will be told here. Nothing is wrong now.")


def write_notice(incidents: Sequence[Incident]) -> Notice:
    """One notice of one incident at least, the gravest first; of those that have no room it says how many they are."""
    ordered = sorted(incidents, key=lambda one: (-one.severity, -one.letters_a_day, one.key))
    return Notice(_title(ordered), _body(ordered))


def name_of_severity(severity: Severity) -> str:
    return severity.name.lower()


def _title(ordered: Sequence[Incident]) -> str:
    """What, how grave, and how many more: it may be all that is read."""
    worst = ordered[0]
    what = worst.text.partition(": ")[0]
    if len(what) > LONGEST_NAME:
        what = f"{what[: LONGEST_NAME - 1]}…"
    more = f", and {len(ordered) - 1} more" if len(ordered) > 1 else ""
    return f"Mailfleet: {what}: {name_of_family(worst.family)} ({name_of_severity(worst.severity)}){more}"


def name_of_family(family: Family) -> str:
    return family.replace("_", " ")


def _body(ordered: Sequence[Incident]) -> str:
    parts: list[str] = []
    room = LONGEST
    for one in ordered:
        since = f"{name_of_severity(one.severity).capitalize()}, since {one.opened_at:%Y-%m-%d %H:%M} UTC."
        part = f"{since} {one.text}"
        if len(part) > room:
            if parts:
                break
            part = f"{part[: room - 1]}…"
        parts.append(part)
        room -= len(part)
    left = len(ordered) - len(parts)
    if left:
        parts.append(f"And {left} more.")
    parts.append("`mailfleet incidents` lists all that are open.")
    return "\n\n".join(parts)
