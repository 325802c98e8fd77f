"""Which country a text means: a code of ISO 3166-1, or a name in English, Russian or German (`countries.tsv`)."""

import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files


@lru_cache(maxsize=4096)
def find_country(text: str) -> str | None:
    """The two-letter code, upper-cased; None for a name that is not known. Case and punctuation do not count."""
    return _codes().get(_key(text))


@cache
def _codes() -> Mapping[str, str]:
    lines = files(__package__).joinpath("countries.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return {_key(spelling): row[0] for row in rows for spelling in row}


def _key(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.casefold().replace("&", "and"))
    return "".join(filter(str.isalpha, letters))
