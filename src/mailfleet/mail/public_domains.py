"""Domains of public mail providers: `public_domains.txt`, names between blanks, `#` begins a comment."""

from functools import cache
from importlib.resources import files


def is_public(domain: str) -> bool:
    """Whether anybody can have an address under this domain (A-labels, lower case), so that it is no company's."""
    return domain in _domains()


@cache
def _domains() -> frozenset[str]:
    text = files("mailfleet.mail").joinpath("public_domains.txt").read_text(encoding="utf-8")
    return frozenset(name for line in text.splitlines() for name in line.partition("#")[0].split())
