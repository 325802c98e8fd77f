"""Whether two contacts are of one company: the same name, or the same domain. Pure."""

import re
from dataclasses import dataclass

from mailfleet.mail.companies import company_key
from mailfleet.mail.public_domains import is_public

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Employer:
    """What is known of a contact's company: its name as it was given, and the domain of the contact's address."""

    company: str
    domain: str

    def is_same(self, other: "Employer") -> bool:
        key = company_key(self.company)
        return (self.domain == other.domain and not is_public(self.domain)) or (
            bool(key) and key == company_key(other.company)
        )


def longest_word(name: str) -> str:
    """The longest word of the name, in lower case, to look for others that bear it; empty when it has none."""
    key, lower = company_key(name), name.lower()
    words = [word for word in key.split() if word in lower] or (_WORD.findall(lower) if key else [])
    return max(words, key=len, default="")
