"""Quiet hours: when nobody is woken but for what is grave."""

import json
import re
from datetime import time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mailfleet.base.db import Connection
from mailfleet.base.errors import InputError
from mailfleet.health.alerts.store import QUERIES
from mailfleet.health.incidents import QuietHours

_HINT = 'Write them as "22:00-07:00", or "off" for none.'
_HOURS = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")


def parse_quiet_hours(hours: str, zone: str) -> QuietHours:
    """From "22:00-07:00" and an IANA zone; InputError says which of them is wrong."""
    found = _HOURS.fullmatch(hours.strip())
    try:
        first, minute, last, second = map(int, found.groups() if found else ())
        quiet = QuietHours(time(first, minute), time(last, second), zone)
    except ValueError as error:
        raise InputError(f'"{hours}" are no quiet hours.', hint=_HINT) from error
    if quiet.start == quiet.end:
        raise InputError(f'"{hours}" are no hours at all.', hint=_HINT)
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(f'"{zone}" is not a time zone.', hint='Use an IANA name, such as "Europe/Berlin".') from error
    return quiet


def read_quiet_hours(connection: Connection) -> QuietHours | None:
    """What `mailfleet alerts quiet` set; None: nothing is ever held back."""
    row = connection.execute(QUERIES["quiet_hours"]).fetchone()
    if row is None:
        return None
    value = row.value
    return QuietHours(time.fromisoformat(value["start"]), time.fromisoformat(value["end"]), value["zone"])


def set_quiet_hours(connection: Connection, quiet: QuietHours | None) -> None:
    if quiet is None:
        connection.execute(QUERIES["end_quiet_hours"])
        return
    value = {"start": quiet.start.isoformat(), "end": quiet.end.isoformat(), "zone": quiet.zone}
    connection.execute(QUERIES["set_quiet_hours"], {"hours": json.dumps(value)})
