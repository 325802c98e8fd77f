"""Records as lines of a zone file: RFC 1035 §5.1; strings of TXT have at most 255 octets (§3.3)."""

from collections.abc import Iterable, Iterator

from mailfleet.health.dns.findings import Record, shown

TTL = 3600  # chosen: an hour; long enough for resolvers, short enough to mend
LONGEST_STRING = 255  # RFC 1035 §3.3


def zone_lines(records: Iterable[Record]) -> Iterator[str]:
    """One line a record; one whose value is not known is a comment that says where it is."""
    for record in records:
        note = f" ; {shown(record.note, 300)}" if record.note else ""
        if record.value:
            yield f"{record.name}. {TTL} IN {record.kind} {_data(record)}{note}"
        else:
            yield f"; {record.name}. {TTL} IN {record.kind} …{note}"


def _data(record: Record) -> str:
    if record.kind == "TXT":
        return quoted(record.value)
    return f"{record.value.removesuffix('.')}."


def quoted(text: str) -> str:
    """The strings of a TXT record, in quotes."""
    octets = text.encode()
    pieces = [octets[at : at + LONGEST_STRING] for at in range(0, len(octets), LONGEST_STRING)] or [b""]
    return " ".join(f'"{"".join(map(_escaped, piece))}"' for piece in pieces)


def _escaped(octet: int) -> str:
    if octet in b'"\\':
        return f"\\{chr(octet)}"
    return chr(octet) if 0x20 <= octet < 0x7F else f"\\{octet:03d}"
