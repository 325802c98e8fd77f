"""What comes back after a hold has ended, on the database."""

from datetime import timedelta

from health_scene import POLICY, UNKNOWN, Scene

from mailfleet.inbox.store import QUERIES

HOUR = timedelta(hours=1)
HOLD = (
    "INSERT INTO hold (scope_kind, scope_key, reason, set_by, family)"
    " VALUES ('mailbox', %s, 'Its answers cannot be read.', 'watcher', 'authentication')"
)


def read_all(scene: Scene) -> int:
    """A watcher that read every inbox well a minute ago; its id."""
    watcher: int = scene.one("INSERT INTO watcher (host, pid) VALUES ('host-1', 1) RETURNING id")
    scene.connection.execute(
        "INSERT INTO reading (mailbox_id, read_at, watcher_id, expires_at)"
        " SELECT id, clock_timestamp() - interval '1 minute', %s, clock_timestamp() + interval '1 day' FROM mailbox",
        [watcher],
    )
    return watcher


def refuse(scene: Scene, watcher: int, mailboxes: list[int]) -> None:
    """What the watcher writes of logins that are refused, and holds for them."""
    said = {"watcher": watcher, "fence": 0, "kind": "login", "text": "535", "refused": b"secret"}
    waits = {"first": HOUR, "longest": HOUR, "chance": 1.0}
    for mailbox in mailboxes:
        scene.connection.execute(QUERIES["fail"], {**said, **waits, "mailbox": mailbox})
        scene.connection.execute(HOLD, [str(mailbox)])


def test_inboxes_that_are_refused_again_after_a_lift_are_their_accounts_again(scene_of) -> None:
    """What was refused before the lift holds nothing. Of the account's six inboxes two are tried anew in the first
    minute: they are one hold and the incident that was, not one for each mailbox; the other four change nothing."""
    scene = scene_of(12, 4, 2, 1, 1)
    accounts = dict(scene.rows("SELECT id, account_id FROM mailbox"))
    account = min(accounts.values())
    broken = [mailbox for mailbox in accounts if accounts[mailbox] == account]
    watcher = read_all(scene)
    refuse(scene, watcher, broken)
    scene.judge()
    one = ([("account", account, "authentication")], [("authentication", "account", account, 3)])
    assert (scene.holds(), scene.incidents()) == one
    scene.pass_time(HOUR)
    scene.lift(kind="account", key=account)
    scene.judge()
    scene.connection.execute(QUERIES["try_again"], {"watcher": watcher, "mailboxes": broken})
    scene.judge()
    assert scene.holds() == []
    for some in (broken[:2], broken[2:]):
        refuse(scene, watcher, some)
        scene.judge()
        assert (scene.holds(), scene.incidents()) == one
    assert scene.one("SELECT count(*) FROM incident") == 1


def hold_for_a_dead_list(scene: Scene) -> tuple[int, int]:
    """Holds the campaign, which wrote 126 letters in a week, for one of its two lists; the list and the campaign."""
    dead, good = scene.new_list("dead"), scene.new_list("good")
    mailbox = scene.mailboxes[0]
    scene.write(mailbox, 30, lists=(dead,))
    scene.write(mailbox, 6, lists=(dead,), **UNKNOWN)
    scene.write(mailbox, 90, lists=(good,))
    scene.judge()
    assert scene.holds() == [("campaign", scene.campaign, "bounces")]
    return dead, scene.campaign


def test_a_campaigns_trial_ends_at_what_the_campaign_wrote(scene: Scene) -> None:
    """Eighteen letters a day, not the hundred and eighty of its fleet: after five, ten and eighteen it is over."""
    _, campaign = hold_for_a_dead_list(scene)
    assert scene.one("SELECT evidence ->> 'letters_a_day' FROM hold") == "18"
    scene.lift(kind="campaign", key=campaign)
    reached = []
    for letters in (5, 5, 8):
        reached += [row[2] for row in scene.limits()]
        scene.write(scene.mailboxes[0], letters)
        scene.pass_time(3 * HOUR)
        scene.judge()
    assert reached == [5, 10, 18]
    scene.judge()
    assert (scene.limits(), scene.incidents()) == ([], [])


def test_blocks_at_receivers_that_nobody_looked_up_stop_their_domain(scene: Scene) -> None:
    """Twenty firms of which nobody knows who serves them are not one receiver with an opinion."""
    burnt = scene.mailboxes[0]
    for mailbox in scene.mailboxes:
        scene.write(mailbox, 200)
    for firm in range(20):
        scene.write(burnt, 2, receiver=f"firm{firm}.example", **POLICY)
    scene.judge()
    assert scene.holds() == [("domain", scene.domain_of(burnt), "policy")]
    assert scene.one("SELECT jsonb_array_length(evidence -> 'receivers') FROM hold") == 20


def test_a_second_hold_after_a_lift_is_told_anew(scene: Scene) -> None:
    """Who lifted the first was told of that one. Once somebody was told of the second, a text that goes on changes
    nothing."""
    dead, campaign = hold_for_a_dead_list(scene)
    tell = "UPDATE incident SET told = severity, told_at = clock_timestamp()"
    told = "SELECT told IS NOT NULL FROM incident"
    scene.connection.execute(tell)
    scene.lift(kind="campaign", key=campaign)
    scene.judge()
    assert scene.one(told)
    scene.write(scene.mailboxes[0], 3, lists=(dead,))
    scene.write(scene.mailboxes[0], 2, lists=(dead,), **UNKNOWN)
    scene.judge()
    assert scene.holds() == [("campaign", campaign, "bounces")]
    assert not scene.one(told)
    scene.connection.execute(tell)
    scene.write(scene.mailboxes[0], 1, lists=(dead,), **UNKNOWN)
    scene.judge()
    assert scene.one(told) and "3 of 6 letters" in scene.one("SELECT text FROM incident")
