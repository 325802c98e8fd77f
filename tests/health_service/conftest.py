"""A laid fleet with the letters it wrote, and the health service over it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(Path(__file__).parent), *(str(TESTS / name) for name in ("alerts", "dns", "outbox"))]

from health_scene import Scene, lay_scene  # noqa: E402  found only now


@pytest.fixture
def scene_of(database: str, home: Path) -> Iterator[Callable[..., Scene]]:
    """Lays a fleet of so many mailboxes, domains, accounts, providers and identities."""
    with ExitStack() as stack:
        yield lambda *sizes: stack.enter_context(lay_scene(database, home, *sizes))


@pytest.fixture
def scene(scene_of: Callable[..., Scene]) -> Scene:
    """Six mailboxes of two domains, of one account."""
    return scene_of(6, 2, 1, 1, 1)
