"""What a notice says. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailfleet.health.incidents import Incident, Severity

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
    worst = name_of_severity(ordered[0].severity)
    count = "an incident" if len(ordered) == 1 else f"{len(ordered)} incidents, the gravest"
    return Notice(f"Mailfleet: {count} ({worst})", _body(ordered))


def name_of_severity(severity: Severity) -> str:
    return severity.name.lower()


def _body(ordered: Sequence[Incident]) -> str:
    parts: list[str] = []
    room = LONGEST
    for one in ordered:
        part = f"{name_of_severity(one.severity).capitalize()}. {one.text}"
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
