"""What a report says of one recipient, before anybody judges it."""

from dataclasses import dataclass
from enum import StrEnum


class Named(StrEnum):
    """Where an address was found, the best first."""

    ORIGINAL = "original"  # as our letter named it (RFC 3464 §2.3.1)
    FINAL = "final"  # as the reporter knew it, perhaps after forwarding
    NOTICE = "notice"  # in the words of an unstructured notice
    RETURNED = "returned"  # only in the letter that was returned


class Fate(StrEnum):
    """What became of the letter (RFC 3464 §2.3.3); relayed and expanded count as delivered."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"


@dataclass(frozen=True, slots=True)
class Finding:
    """One recipient of one report."""

    address: str
    named: Named
    fate: Fate | None
    """None when the report does not say."""
    status: str
    """Enhanced status as the report gives it; empty when it gives none."""
    diagnostic: str
    """What was said about it, lines kept; empty when nothing was."""
    remote: str
    """The server that said it, when that is not the reporter itself."""
    reporter: str
    """The server that wrote the report."""
