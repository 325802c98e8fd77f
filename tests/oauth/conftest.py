"""A token server, a world whose tokens come from it, and token sources as processes have them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from oauth_world import ISSUER, World
from token_server import TokenServer

from mailfleet.base.db import connect
from mailfleet.base.secrets import new_key
from mailfleet.providers.oauth.source import TokenSource
from mailfleet.providers.oauth.store import TokenStore


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


@pytest.fixture
def world(database: str, server: TokenServer) -> Iterator[World]:
    with connect(database, name="test") as connection:
        yield World(database, connection, server, new_key())


@pytest.fixture
async def make_source(world: World) -> AsyncIterator[Callable[..., TokenSource]]:
    """Token sources as processes have them; closed afterwards."""
    made: list[TokenSource] = []

    def make(**options: Any) -> TokenSource:
        store = TokenStore(world.conninfo, world.keyring, **options)
        made.append(TokenSource(world.conninfo, world.keyring, store=store))
        return made[-1]

    yield make
    await asyncio.gather(*(source.close() for source in made))


@pytest.fixture
def key_file(world: World, tmp_path: Path) -> Path:
    """A service account's key file as the Cloud console writes it."""
    credential = world.service_credential()
    path = tmp_path / "key.json"
    content = {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": credential.key_name,
        "private_key": credential.private_key,
        "client_email": ISSUER,
        "client_id": "1234567890",
        "token_uri": "https://elsewhere.example/token",
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
