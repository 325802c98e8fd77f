"""Chance that can be repeated."""

from collections.abc import Hashable
from hashlib import blake2b


def chance(seed: int, *key: Hashable) -> float:
    """A number in [0, 1), the same for the same seed and key in every process."""
    digest = blake2b("\0".join(map(str, (seed, *key))).encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
