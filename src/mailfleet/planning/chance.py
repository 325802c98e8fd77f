"""Chance that is the same in every process: drawn from a text, never from a generator's state."""

from collections.abc import Sequence
from hashlib import blake2b

from mailfleet.base.errors import InvariantError

DRAW_BYTES = 8


def draw_number(text: str) -> int:
    """From 0 up to 2**64 - 1, evenly."""
    return int.from_bytes(blake2b(text.encode(), digest_size=DRAW_BYTES).digest())


def draw_fraction(text: str) -> float:
    """From 0 up to but without 1, evenly."""
    return (draw_number(text) >> 11) / (1 << 53)


def draw_variant(seed_text: str, weights: Sequence[int]) -> int:
    """The index of one of the weights, each as likely as its share of their sum."""
    total = sum(weights)
    if total <= 0 or min(weights) < 0:
        raise InvariantError(f"no variant can be drawn from the weights {list(weights)}")
    mark = draw_number(seed_text) % total
    for index, weight in enumerate(weights):
        if mark < weight:
            return index
        mark -= weight
    raise InvariantError("the weights do not add up to their sum")
