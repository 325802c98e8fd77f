"""A rotation of the keys covers grants, tokens and alert targets; an account goes with its grant and tokens."""

from datetime import timedelta
from pathlib import Path

import pytest
from oauth_world import World

from mailfleet.base.errors import SetupError
from mailfleet.base.secrets import Keyring, new_key, read_key_file, write_key_file
from mailfleet.base.settings import Settings
from mailfleet.intake.fleet_store import QUERIES as FLEET
from mailfleet.intake.sealed import check_keys, prune_keys, rotate_keys
from mailfleet.providers.oauth.grants import list_grants
from mailfleet.providers.oauth.store import TokenStore

SEALED = [
    ("oauth_grant", "credential"),
    ("oauth_token", "access_token"),
    ("oauth_token", "refresh_token"),
    ("alert_target", "url"),
    ("mailbox", "secret"),
    ("mailbox", "imap_secret"),
]


@pytest.fixture
def settings(world: World, home: Path) -> Settings:
    write_key_file(home / "keys", [world.key])
    return Settings(home=home, database_url=world.conninfo, keys=None, log_level="critical", allow_insecure=False)


@pytest.fixture
def filled(world: World) -> World:
    world.lay(2)
    world.connect_consents(life=timedelta(hours=1))
    world.connection.execute(
        "INSERT INTO alert_target (name, url) VALUES ('me', %s)", [world.keyring.seal("mailto://x")]
    )
    world.connection.execute(
        "INSERT INTO reading (mailbox_id, refused_secret) SELECT id, secret FROM mailbox WHERE id = %s",
        [world.mailboxes[0]],
    )
    return world


async def test_a_rotation_covers_all_that_is_sealed(filled: World, settings: Settings) -> None:
    """After it the new key alone opens every mailbox, grant, token and alert target; what a mailbox's server refused
    counts as refused still."""
    assert rotate_keys(filled.connection, settings) == 8
    assert prune_keys(filled.connection, settings) == 1
    [key] = read_key_file(settings.home / "keys")
    assert key != filled.key
    report = check_keys(filled.connection, [key])
    assert (report.sealed, report.newest, report.lost) == (8, 8, ())
    store = TokenStore(filled.conninfo, Keyring([key]))
    row = await store.read(filled.mailboxes[1])
    assert store.client_of(row).credential.secret == "s3cret-of-client"
    assert store.opened(row.access_token, row) == "first-access"
    assert store.opened(row.refresh_token, row) in filled.server.known.refresh
    await store.close()
    query = "SELECT refused_secret = secret AS same FROM reading JOIN mailbox ON mailbox.id = mailbox_id"
    assert filled.columns(query).same


@pytest.mark.parametrize(("table", "column"), SEALED)
def test_no_key_is_dropped_that_something_needs(filled: World, settings: Settings, table: str, column: str) -> None:
    """One value of any kind that an old key sealed keeps that key; one that no key opens is named, and stops both."""
    old = new_key()
    rotate_keys(filled.connection, settings)
    keys = read_key_file(settings.home / "keys")
    write_key_file(settings.home / "keys", [*keys, old])
    change = f"UPDATE {table} SET {column} = %s WHERE id = (SELECT min(id) FROM {table})"
    filled.connection.execute(change, [Keyring([old]).seal("x")])
    with pytest.raises(SetupError, match="no key was dropped"):
        prune_keys(filled.connection, settings)
    write_key_file(settings.home / "keys", keys)
    for act in (rotate_keys, prune_keys):
        with pytest.raises(SetupError, match="open with no key"):
            act(filled.connection, settings)
    assert read_key_file(settings.home / "keys") == keys


@pytest.mark.parametrize("act", [rotate_keys, prune_keys])
def test_keys_stay_while_watchers_work(filled: World, settings: Settings, act: object) -> None:
    """A watcher seals fresh tokens by the keys that it began with; one that stopped, or fell silent, does not."""
    filled.connection.execute("INSERT INTO watcher (host, pid) VALUES ('h', 1)")
    with pytest.raises(SetupError, match="Watchers at work"):
        act(filled.connection, settings)  # type: ignore[operator]
    filled.connection.execute("UPDATE watcher SET seen_at = seen_at - interval '1 day'")
    act(filled.connection, settings)  # type: ignore[operator]


def test_an_account_goes_with_its_grant_and_tokens(filled: World) -> None:
    """An account without mailboxes can go though it was connected, and though a token of a mailbox that has moved since
    hangs on it; the other account's stay."""
    filled.lay(1, account="tenant-2", domain="b.example")
    filled.connect_consents()
    before = filled.columns("SELECT count(*) AS n FROM oauth_token").n
    filled.connection.execute("UPDATE mailbox SET account_id = (SELECT min(id) FROM account)")
    filled.connection.execute(FLEET["remove_accounts"], {"names": ["p/tenant-2"]})
    assert [row.account for row in list_grants(filled.connection)] == ["p/tenant-1"]
    assert filled.columns("SELECT count(*) AS n FROM oauth_token").n == before - 1
