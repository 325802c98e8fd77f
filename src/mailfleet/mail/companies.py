"""When two names are one company's. Lists spell a company in many ways, and a ban has to meet all of them."""

import re
import unicodedata

# As folded: no dots, no accents, lower case.
_RUSSIAN_FORMS = "ао|зао|ип|нао|оао|ооо|пао|пк|тоо|чп|тов|фгуп"
_FORMS = (
    "ab|ag|ao|aps|as|asa|bv|bvba|co|company|corp|corporation|cv|doo|dba|ead|eood|eg|eirl|ek|eurl|ev|gbr|gmbh"
    "|haftungsbeschrankt|inc|incorporated|kft|kg|kgaa|limited|llc|llp|lp|ltd|ltda|mbh|nv|ohg|ood|oy|oyj|plc|pte|pty"
    "|pvt|sa|sab|sapi|sarl|sas|sasu|scs|se|sl|slu|snc|spa|spj|spzoo|srl|sro|ug|zrt"
)
_LEADING = re.compile(_RUSSIAN_FORMS)
_TRAILING = re.compile(f"{_FORMS}|{_RUSSIAN_FORMS}")
_DROPPED = re.compile(r"[.'’`´]")  # inside words: S.A., Levi's
_SPACED_FORM = re.compile(r"\bsp\s*z\s*o\s*o\b")
_WORD = re.compile(r"[^\W_]+")


def company_key(name: str) -> str:
    """What two spellings of one company share: no case, accents and punctuation, no legal forms at the end, nor before
    a Russian name. Empty when the text names no company. A name that is all legal form keeps its first word.
    """
    bare = unicodedata.normalize("NFKD", _DROPPED.sub("", name).casefold())
    folded = "".join(sign for sign in bare if not unicodedata.combining(sign))
    words = _WORD.findall(_SPACED_FORM.sub("spzoo", folded))
    while len(words) > 1 and _TRAILING.fullmatch(words[-1]):
        words.pop()
    while len(words) > 1 and _LEADING.fullmatch(words[0]):
        words.pop(0)
    return " ".join(words)
