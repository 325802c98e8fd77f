"""Letters that can be opted out of."""

from pathlib import Path

import pytest

from mailfleet.base.db import connect
from opt_out.page_scene import Letters
from outbox.queue_scene import lay


@pytest.fixture
def letters(database: str, home: Path) -> Letters:
    """Four queued letters to four contacts."""
    with connect(database, name="test") as connection:
        laid = lay(database, home, connection, contacts=4)
        return Letters.of(laid, connection)
