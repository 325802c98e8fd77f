import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from campaign_world import Person, World
from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import InputError
from mailfleet.intake.campaign_check import Fault, check_campaign
from mailfleet.intake.campaign_diff import diff_campaigns
from mailfleet.intake.campaign_file import read_campaign
from mailfleet.intake.campaign_launch import LaunchPlan, launch, pause, plan_launch, stop
from mailfleet.intake.campaign_letters import PREVIEW_TOKEN, preview
from mailfleet.intake.campaign_pool import daily_capacity, load_daily_limits, load_mailboxes
from mailfleet.intake.campaign_store import (
    check_names,
    list_campaigns,
    read_standings,
    read_stored,
    save_campaign,
    stream,
)
from mailfleet.intake.toml_file import FileProblems
from mailfleet.mail.compose import compose
from mailfleet.mail.opt_out import read_token
from mailfleet.model.words import CampaignState
from mailfleet.outbox.service import PLANNER_LOCK, STOP_LOCK
from mailfleet.outbox.stops import suppress
from mailfleet.outbox.tunables import Tunables
from mailfleet.planning.service import plan_once
from mailfleet.planning.store import PlanStore

DRAFT, RUNNING, PAUSED, STOPPED = (
    CampaignState.DRAFT,
    CampaignState.RUNNING,
    CampaignState.PAUSED,
    CampaignState.STOPPED,
)
NEW_STEP = '[[steps]]\nwait = "5 days"\ntext = "Last words"\n'
FOLLOW_UP = '[[steps]]\nwait = "3 days"\ntext = "Did my letter about {{ contact.topic }} reach you?"\n'
VARIANT_B = '[[steps.variants]]\nname = "b"\nsubject = "A question"\nhtml = "<p>Hello {{ contact.first_name }}</p>"\n'


@pytest.fixture
def world(database: str, home: Path) -> Iterator[World]:
    with connect(database, name="test") as connection:
        yield World(connection, home, database)


def _start(world: World, *people: Person) -> None:
    """Two contacts, unless others are named, enrolled in the running campaign."""
    world.lay_contacts(*(people or (Person("ann@a.test"), Person("bob@b.test"))))
    world.add()
    assert _launch(world) == len(people or "ab")


def _launch(world: World, was: CampaignState = DRAFT) -> int:
    return launch(world.connection, plan_launch(world.connection, "labs"), was=was, reason="test")


def _state(world: World) -> str:
    return str(world.one("SELECT state FROM campaign WHERE name = 'labs'"))


def _rows(world: World) -> list[object]:
    tables = ("campaign", "campaign_list", "step", "variant", "enrollment", "message")
    return [world.all(f"SELECT t, t.xmin::text FROM {table} t ORDER BY 1") for table in tables]


# -- add ---------------------------------------------------------------------------------------------------------------


def test_a_stored_campaign_says_what_its_file_says(world: World) -> None:
    """What is written is read back equal, but for the order of lists."""
    world.lay_contacts(Person("ann@a.test"))
    world.lay_contacts(on="clinics")
    campaign = world.add(('list = "labs"', 'list = ["labs", "clinics"]\npriority = 3\nopenings_share = 0.25'))
    stored = read_stored(world.connection, "labs")
    assert (stored.state, stored.content) == (DRAFT, campaign)


def test_adding_the_same_file_twice_writes_nothing(world: World) -> None:
    """The second add touches no row, even when the order of lists and variants is another."""
    world.lay_contacts(on="labs")
    world.lay_contacts(on="clinics")
    campaign = world.add(('list = "labs"', 'list = ["labs", "clinics"]'))
    before = _rows(world)
    first = campaign.steps[0]
    turned = replace(
        campaign,
        lists=("clinics", "labs"),
        steps=(replace(first, variants=first.variants[::-1]), *campaign.steps[1:]),
    )
    for again in (campaign, turned):
        saved = save_campaign(world.connection, again)
        assert (saved.is_new, saved.changes) == (False, ())
    assert _rows(world) == before


def test_the_planner_reads_what_a_file_said(world: World) -> None:
    """Pool, window and zones reach the planner as the file has them; a mailbox outside the pool does not."""
    world.lay_mailbox("other@north.test", tags=["arts"])
    _start(world)
    campaign = PlanStore(world.connection).load_snapshot().campaigns[0]
    science = world.all("SELECT id FROM mailbox WHERE 'science' = ANY(tags)")
    assert campaign.pool == frozenset(science)
    assert (campaign.window.weekdays, str(campaign.window.intervals[0])) == ({1, 2, 3, 4, 5}, "09:00-17:00")
    assert (campaign.in_contact_zone, campaign.window.zone) == (True, "Europe/London")


def test_names_that_are_not_there_are_all_named_with_their_lines(world: World) -> None:
    """Identity, list and pool of another spelling: each a problem with its line and the nearest name that exists."""
    world.lay_contacts(on="labs")
    world.run("INSERT INTO pool (name) VALUES ('science')")
    path = world.file(
        ('"northwind"', '"nortwind"'),
        ('list = "labs"', 'list = ["lab"]\npool = "sience"'),
        ('[pool]\ntags = ["science"]\n', ""),
    )
    with pytest.raises(FileProblems) as caught:
        check_names(world.connection, read_campaign(path), path)
    assert [(problem.where.rpartition(":")[2], problem.message) for problem in caught.value.problems] == [
        ("2", "there is no identity nortwind; did you mean northwind?; there are northwind"),
        ("3", "there is no list lab; did you mean labs?; there are labs"),
        ("4", "there is no pool sience; did you mean science?; there are science"),
    ]


def test_what_selects_nothing_is_noted(world: World) -> None:
    """A tag that no mailbox has does not stop the file, and is named with the nearest."""
    world.lay_contacts(on="labs")
    path = world.file(('tags = ["science"]', 'tags = ["science", "scince"]\nexclude = { domains = ["noth.test"] }'))
    assert check_names(world.connection, read_campaign(path), path) == (
        "pool.tags: no mailbox has scince; did you mean science?",
        "pool.exclude.domains: no mailbox has noth.test; did you mean north.test?",
    )


def test_a_running_campaign_is_not_changed(world: World) -> None:
    """Its file may be added again only while it differs in nothing."""
    _start(world)
    before = _rows(world)
    assert save_campaign(world.connection, world.read()).changes == ()
    with pytest.raises(InputError, match="is running"):
        save_campaign(world.connection, world.read(('"3 days"', '"4 days"')))
    assert _rows(world) == before


def test_a_step_with_letters_stays_and_may_change_its_words(world: World) -> None:
    """On a paused campaign: new words on the same rows; no removal; the identity goes on."""
    _start(world)
    world.lay_message(1)
    pause(world.connection, "labs", reason="test")
    steps = world.all("SELECT id FROM step ORDER BY number")
    saved = save_campaign(world.connection, world.read(("A question", "A short question"), ('"3 days"', '"4 days"')))
    assert saved.changes == ("step 1, variant b: subject changed", "step 2: wait 3 days → 4 days")
    assert world.all("SELECT id FROM step ORDER BY number") == steps
    assert world.one("SELECT wait FROM step WHERE number = 2") == timedelta(days=4)
    world.lay_message(2, header_id="<2@x>")
    with pytest.raises(InputError, match="Step 2 of labs has letters"):
        save_campaign(world.connection, world.read((FOLLOW_UP, "")))
    world.lay_identity("southwind")
    with pytest.raises(InputError, match="has written as northwind"):
        save_campaign(world.connection, world.read(('"northwind"', '"southwind"')))
    assert world.all("SELECT id FROM step ORDER BY number") == steps


def test_a_step_without_letters_goes_and_whoever_waited_for_it_has_finished(world: World) -> None:
    """No enrollment stays active for a step that is not there."""
    _start(world)
    world.lay_message(1)
    world.run("UPDATE enrollment SET next_step = 2 WHERE id = (SELECT min(id) FROM enrollment)")
    pause(world.connection, "labs", reason="test")
    assert save_campaign(world.connection, world.read((FOLLOW_UP, ""))).changes == ("step 2 is removed",)
    assert world.enrolled() == [("ann@a.test", "finished"), ("bob@b.test", "active")]


def test_a_new_step_is_appended_while_the_campaign_is_paused(world: World) -> None:
    """The rows before it are the same; the new one follows them."""
    _start(world)
    pause(world.connection, "labs", reason="test")
    steps = world.all("SELECT id FROM step ORDER BY number")
    assert save_campaign(world.connection, world.read((FOLLOW_UP, FOLLOW_UP + NEW_STEP))).changes == (
        "step 3 is added",
    )
    assert world.all("SELECT id FROM step ORDER BY number")[:2] == steps


def test_a_variant_with_letters_is_kept_and_drawn_no_more(world: World) -> None:
    """Out of the file: without letters it goes; with one it stays at weight 0, until the file has it again."""
    _start(world)
    world.lay_message(1, variant="b")
    pause(world.connection, "labs", reason="test")
    assert save_campaign(world.connection, world.read((VARIANT_B, ""))).changes == ("step 1: variant b is removed",)
    names = "SELECT v.name, v.weight FROM variant v JOIN step s ON s.id = v.step_id WHERE s.number = 1 ORDER BY 1"
    assert world.all(names) == [("a", 1), ("b", 0)]
    assert save_campaign(world.connection, world.read((VARIANT_B, ""))).changes == ()
    assert save_campaign(world.connection, world.read()).changes == ("step 1: variant b is added",)
    assert world.all(names) == [("a", 1), ("b", 1)]


def test_a_draft_loses_variants_steps_and_lists_that_its_file_leaves_out(world: World) -> None:
    """Nothing of an older file stays behind in a draft."""
    world.lay_contacts(on="labs")
    world.lay_contacts(on="clinics")
    world.add()
    changed = world.add((VARIANT_B, ""), (FOLLOW_UP, ""), ('list = "labs"', 'list = "clinics"'))
    assert read_stored(world.connection, "labs").content == changed
    assert world.one("SELECT count(*) FROM variant") == 1


def test_the_store_and_the_planner_hold_each_other_off(world: World, database: str) -> None:
    """A campaign is written while no planning run is under way: both take the same lock."""
    world.lay_contacts(on="labs")
    campaign = world.read()
    world.run("SELECT pg_advisory_lock(%s)", [PLANNER_LOCK])
    with connect(database, name="other") as other:
        other.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            save_campaign(other, campaign)
        world.run("SELECT pg_advisory_unlock(%s)", [PLANNER_LOCK])
        assert save_campaign(other, campaign).is_new


def test_changes_name_every_field(world: World) -> None:
    """Each kind of value is shown before and after, in words of the file."""
    old = world.read()
    new = world.read(('tags = ["science"]', 'exclude = { tags = ["arts"] }'), ('"Europe/London"', '"Europe/Paris"'))
    assert diff_campaigns(old, new) == (
        "pool: tags science → not tags arts",
        "window: weekdays mon, tue, wed, thu, fri; hours 09:00-17:00; zone contact; fallback_zone Europe/London"
        " → weekdays mon, tue, wed, thu, fri; hours 09:00-17:00; zone contact; fallback_zone Europe/Paris",
    )


# -- start, pause, resume, stop ----------------------------------------------------------------------------------------


def test_start_enrolls_whom_it_may_write_to_and_nobody_else(world: World) -> None:
    """Suppressed contacts and those without a lawful basis are counted and not enrolled; the others are ready now."""
    world.lay_contacts(
        Person("ann@a.test"), Person("no@b.test"), Person("none@c.test", basis="none"), Person("d@d.test")
    )
    world.lay_contacts(Person("ann@a.test"), on="clinics")
    world.suppress_silently("no@b.test")
    world.run(
        "INSERT INTO suppression (digest, kind, reason, source) VALUES (%s, 'domain', 'asked', 'test')",
        [world.vault.digester.domain("d.test")],
    )
    world.add(('list = "labs"', 'list = ["labs", "clinics"]'))
    plan = plan_launch(world.connection, "labs")
    assert (plan.audience.contacts, plan.audience.suppressed, plan.audience.no_basis) == (4, 2, 1)
    assert (plan.audience.eligible, plan.letters, plan.mailboxes, plan.capacity) == (1, 2, 2, 60)
    assert _launch(world) == 1
    assert (world.enrolled(), _state(world)) == ([("ann@a.test", "active")], "running")
    assert world.one("SELECT next_at <= now() AND next_step = 1 FROM enrollment")


ANN_ASKS = """
INSERT INTO incoming (mailbox_id, folder, uid_validity, uid, digest, received_at, kind, contact_id, question)
SELECT (SELECT min(id) FROM mailbox), 'inbox', 1, 1, '\\x01', now(), 'reply', id, 'is this a no?'
FROM contact WHERE address = 'ann@a.test'
"""


def test_whose_answer_waits_for_a_person_is_enrolled_and_paused(world: World) -> None:
    """Nothing is written, by a new campaign either, before somebody has read what they asked; nor to the absent."""
    world.lay_contacts(Person("ann@a.test"), Person("bob@b.test"), Person("away@c.test"))
    world.run(ANN_ASKS)
    world.run(
        "WITH other AS (INSERT INTO campaign (name, identity_id) SELECT 'other', min(id) FROM identity RETURNING id)"
        " INSERT INTO enrollment (campaign_id, contact_id, paused_until, reason_code, reason)"
        " SELECT other.id, c.id, now() + interval '5 days', 'away', 'away' FROM other, contact c"
        " WHERE c.address = 'away@c.test'",
    )
    world.add()
    assert _launch(world) == 3
    query = (
        "SELECT array_agg(c.address || ' ' || e.reason ORDER BY c.address) FROM enrollment e"
        " JOIN contact c ON c.id = e.contact_id JOIN campaign g ON g.id = e.campaign_id AND g.name = 'labs'"
        " WHERE e.paused_until > now()"
    )
    assert world.one(query) == ["ann@a.test waits for a person: is this a no?", "away@c.test away"]


@pytest.mark.parametrize(
    ("mend", "reason"),
    [
        ("UPDATE identity SET postal_address = ' '", "has no postal address"),
        ("UPDATE identity SET legal_name = ''", "has no legal name"),
        ("UPDATE identity SET opt_out_base_url = ''", "no address for the opt-out"),
        ("UPDATE identity SET opt_out_base_url = 'http://out.test'", "must be https"),
        ("UPDATE contact SET lawful_basis = 'none'", "no contact has a lawful basis"),
        ("DELETE FROM list_member", "hold no contact"),
        ("UPDATE mailbox SET retired_at = now()", "no mailbox of the identity northwind"),
        ("UPDATE variant SET text = 'Hello' WHERE name = 'a'", "its text does not show the opt-out"),
        ("UPDATE variant SET html = '<p>Hello</p>' WHERE name = 'b'", "its HTML does not show the opt-out"),
        ("UPDATE provider SET outreach_policy = 'forbidden'", "forbids outreach"),
    ],
)
def test_no_start_without_each_launch_condition(world: World, mend: str, reason: str) -> None:
    """Each condition alone keeps a draft from starting, and nobody is enrolled."""
    world.lay_contacts(Person("ann@a.test"))
    world.add()
    world.run(mend)
    with pytest.raises(InputError, match=reason):
        _launch(world)
    assert (world.enrolled(), _state(world)) == ([], "draft")


def test_a_refused_start_says_everything_at_once(world: World) -> None:
    """Every condition that fails is in the one error."""
    world.lay_contacts(Person("ann@a.test", basis="none"))
    world.add()
    world.run("UPDATE identity SET postal_address = '', opt_out_base_url = ''")
    world.run("UPDATE provider SET outreach_policy = 'forbidden'")
    with pytest.raises(InputError) as caught:
        _launch(world)
    for reason in ("postal address", "opt-out", "forbids outreach", "lawful basis"):
        assert reason in str(caught.value)


def test_an_acknowledged_policy_lets_a_campaign_start(world: World) -> None:
    """What a person answered for does not stop it."""
    world.run("UPDATE provider SET outreach_policy = 'forbidden', policy_acknowledgement = 'A. Lee, 2026'")
    _start(world)
    assert _state(world) == "running"


def test_only_mailboxes_of_the_campaigns_identity_count(world: World) -> None:
    """A pool may name the mailboxes of another identity; they do not write for this one."""
    world.lay_identity("southwind")
    world.lay_mailbox("sam@south.test", identity="southwind", tags=["science"])
    campaign = world.read()
    assert [box.address.domain_ascii for box in load_mailboxes(world.connection, campaign)] == ["north.test"] * 2
    world.run("UPDATE domain SET identity_id = (SELECT id FROM identity WHERE name = 'southwind')")
    assert load_mailboxes(world.connection, campaign) == []


def test_a_start_beyond_what_was_approved_is_refused(world: World) -> None:
    """More contacts than a person saw are not enrolled."""
    world.lay_contacts(Person("ann@a.test"))
    world.add()
    shown = plan_launch(world.connection, "labs")
    world.lay_contacts(Person("bob@b.test"))
    with pytest.raises(InputError, match="changed while you looked"):
        launch(world.connection, shown, was=DRAFT, reason="test")
    assert (world.enrolled(), _state(world)) == ([], "draft")


def test_a_start_that_dies_before_its_end_leaves_a_draft(world: World, database: str) -> None:
    """Enrollments and state are one transaction: cut off in between, there is neither."""
    world.lay_contacts(Person("ann@a.test"))
    world.add()
    plan = plan_launch(world.connection, "labs")
    with connect(database, name="doomed") as doomed, connect(database, name="holder") as holder:
        doomed_pid = doomed.info.backend_pid
        with holder.transaction():
            holder.execute("SELECT id FROM campaign FOR NO KEY UPDATE")  # lets the enrollments pass, not the state
            starting = threading.Thread(target=_die_launching, args=(doomed, plan))
            starting.start()
            _wait_until_locked(world, doomed_pid)
            world.run("SELECT pg_terminate_backend(%s)", [doomed_pid])
            starting.join()
    assert (world.enrolled(), _state(world)) == ([], "draft")
    assert _launch(world) == 1


def test_who_asks_while_a_campaign_starts_is_paused_in_it(world: World, database: str) -> None:
    """Neither the mail's reader nor the start sees the other's rows; nothing is written before a person has read it."""
    world.lay_contacts(Person("ann@a.test"))
    world.add()
    plan = plan_launch(world.connection, "labs")
    with connect(database, name="starter") as starter, connect(database, name="sender") as sender:
        pid = starter.info.backend_pid
        with sender.transaction():
            sender.execute("SELECT pg_advisory_xact_lock_shared(%s)", [STOP_LOCK])
            starting = threading.Thread(target=launch, args=(starter, plan), kwargs={"was": DRAFT, "reason": "test"})
            starting.start()
            _wait_until_locked(world, pid)
            world.run(ANN_ASKS)
        starting.join()
    assert world.all("SELECT reason_code, paused_until > now() FROM enrollment") == [("question", True)]


def _die_launching(connection: Connection, plan: LaunchPlan) -> None:
    with pytest.raises(psycopg.OperationalError):
        launch(connection, plan, was=DRAFT, reason="test")


def test_resume_goes_on_and_enrolls_who_came_since(world: World) -> None:
    """Those enrolled stay as they are; a contact who came to the list is enrolled once; conditions hold again."""
    _start(world)
    pause(world.connection, "labs", reason="lunch")
    before = world.all("SELECT id, next_at FROM enrollment ORDER BY id")
    assert _launch(world, PAUSED) == 0
    assert world.all("SELECT id, next_at FROM enrollment ORDER BY id") == before
    pause(world.connection, "labs", reason="lunch")
    world.lay_contacts(Person("cat@c.test"))
    assert _launch(world, PAUSED) == 1
    pause(world.connection, "labs", reason="lunch")
    world.run("UPDATE identity SET postal_address = ''")
    with pytest.raises(InputError, match="postal address"):
        _launch(world, PAUSED)


def test_stop_is_final_and_ends_every_enrollment(world: World) -> None:
    """Active enrollments end with the reason, the planner cancels what waits, nothing starts again."""
    _start(world)
    world.lay_message(1, state="queued")
    assert stop(world.connection, "labs", reason="budget") == 2
    assert set(world.all("SELECT state, reason_code, reason FROM enrollment")) == {
        ("stopped", "campaign_stopped", "the campaign was stopped: budget")
    }
    plan_once(world.connection, Tunables())
    assert world.all("SELECT state, reason_code FROM message") == [("cancelled", "campaign_stopped")]
    for was in (DRAFT, PAUSED):
        with pytest.raises(InputError, match="labs is stopped"):
            _launch(world, was)
    with pytest.raises(InputError, match="is stopped and the file differs"):
        save_campaign(world.connection, world.read(('"3 days"', '"4 days"')))


def test_a_stop_that_died_half_way_is_finished_by_the_next(world: World) -> None:
    """The state comes first, so nothing leaves; calling it again ends what is left."""
    _start(world)
    world.run("UPDATE campaign SET state = 'stopped'")
    assert stop(world.connection, "labs", reason="budget") == 2
    assert stop(world.connection, "labs", reason="budget") == 0


def test_stop_waits_for_an_enrollment_that_another_holds(world: World, database: str) -> None:
    """What a settlement holds while the others end is ended after it."""
    _start(world)
    ended: list[int] = []
    with connect(database, name="settling") as settling, connect(database, name="stopping") as stopper:
        stopping = threading.Thread(target=lambda: ended.append(stop(stopper, "labs", reason="budget")))
        with settling.transaction():
            settling.execute("SELECT 1 FROM enrollment ORDER BY id LIMIT 1 FOR UPDATE")
            stopping.start()
            _wait_until_locked(world, stopper.info.backend_pid)
            assert world.all("SELECT state FROM enrollment ORDER BY id") == ["active", "stopped"]
        stopping.join()
    assert ended == [2]


def _wait_until_locked(world: World, pid: int) -> None:
    waiting = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
    while not world.one(waiting, [pid]):
        pass


def test_a_suppressed_contact_is_not_enrolled_again(world: World) -> None:
    """Who opted out while the campaign ran stays ended through pause and resume."""
    _start(world)
    suppress(world.connection, world.vault.digester, "ann@a.test", reason="asked", source="test")
    pause(world.connection, "labs", reason="test")
    assert _launch(world, PAUSED) == 0
    assert world.enrolled() == [("ann@a.test", "stopped"), ("bob@b.test", "active")]


def test_capacity_is_bound_by_the_smallest_limits(world: World) -> None:
    """Mailbox, domain and account limits over a day bound what is promised; a ramp and an hour's limit do not."""
    boxes = load_mailboxes(world.connection, world.read())
    put = "INSERT INTO sending_limit (scope_kind, scope_key, window_kind, window_seconds, maximum, source)"
    world.run(f"{put} VALUES ('mailbox', NULL, 'rolling', 3600, 1, 'operator')")
    world.run(f"{put} VALUES ('mailbox', %s, 'rolling', 86400, 5, 'ramp')", [str(boxes[0].id)])
    assert daily_capacity(boxes, load_daily_limits(world.connection), campaign="1") == 60
    world.run(f"{put} VALUES ('mailbox', %s, 'rolling', 86400, 20, 'operator')", [str(boxes[0].id)])
    assert daily_capacity(boxes, load_daily_limits(world.connection), campaign="1") == 50
    world.run(f"{put} VALUES ('domain', NULL, 'calendar', 86400, 40, 'operator')")
    assert daily_capacity(boxes, load_daily_limits(world.connection), campaign="1") == 40
    world.run(f"{put} VALUES ('campaign', '1', 'rolling', 86400, 7, 'operator')")
    assert daily_capacity(boxes, load_daily_limits(world.connection), campaign="1") == 7


# -- looking -----------------------------------------------------------------------------------------------------------


def test_counts_of_steps_add_up_to_the_enrolled(world: World) -> None:
    """Every enrolled contact is finished, or queued, waiting or ended at exactly one step."""
    _start(world, *(Person(f"p{number}@a.test") for number in range(5)))
    ids = world.all("SELECT id FROM enrollment ORDER BY id")
    world.lay_message(1)
    put = "UPDATE enrollment SET next_step = %s, next_at = %s, state = %s WHERE id = %s"
    world.run(put, [2, "2030-01-01", "active", ids[0]])
    world.run(put, [1, None, "active", ids[1]])
    world.run(put, [2, None, "stopped", ids[2]])
    world.run(put, [3, None, "finished", ids[3]])
    (overview,) = list_campaigns(world.connection)
    steps = [(step.sent, step.queued, step.waiting, step.ended) for step in overview.steps]
    assert steps == [(1, 1, 1, 0), (0, 0, 1, 1)]
    assert (overview.enrolled, overview.finished) == (5, 1)
    assert overview.finished + sum(sum(step[1:]) for step in steps) == overview.enrolled


def test_every_contact_of_a_campaign_is_listed_with_its_reason(world: World) -> None:
    """The enrolled, those with a hole, and those of the lists who were left out."""
    _start(world)
    world.lay_contacts(Person("none@c.test", basis="none"), Person("no@d.test"), Person("new@e.test"))
    world.suppress_silently("no@d.test")
    world.run(
        "UPDATE enrollment SET state = 'stopped', next_at = NULL, reason_code = 'hole', reason = 'no company'"
        " WHERE id = (SELECT min(id) FROM enrollment)"
    )
    campaign = world.one("SELECT id FROM campaign")
    listed = [(row.address, row.state, row.code) for row in read_standings(world.connection, campaign)]
    assert listed == [
        ("ann@a.test", "stopped", "hole"),
        ("bob@b.test", "active", ""),
        ("none@c.test", "not enrolled", "no_lawful_basis"),
        ("no@d.test", "not enrolled", "suppressed"),
        ("new@e.test", "not enrolled", "not_enrolled"),
    ]
    holes = [row.address for row in read_standings(world.connection, campaign, code="hole")]
    assert holes == ["ann@a.test"]


def test_a_long_answer_is_streamed(world: World) -> None:
    """No more rows than a batch come over at once."""
    world.lay_contacts(*(Person(f"p{number}@a.test") for number in range(3)))
    rows = stream(world.connection, "contacts", {"lists": ["labs"]})
    assert next(rows).address == "p0@a.test"
    assert world.connection.execute("SELECT count(*) FROM pg_cursors WHERE name = 'contacts'").fetchone() == (1,)
    assert [row.address for row in rows] == ["p1@a.test", "p2@a.test"]


# -- check -------------------------------------------------------------------------------------------------------------


def test_a_campaign_without_fault_is_clean(world: World) -> None:
    """Every variant of every step is written for every contact, and nothing is found."""
    world.lay_contacts(*(Person(f"p{number}@a.test") for number in range(4)))
    report = check_campaign(world.connection, world.read(), campaign_id=None)
    assert (report.is_clean, report.letters, report.findings, report.obstacles) == (True, 4 * 3, (), ())


def test_every_kind_of_fault_is_found_and_counted(world: World) -> None:
    """Holes by variable and place, no basis, unknown zone, a mailbox elsewhere; suppression and SMTPUTF8 to know."""
    other = world.lay_mailbox("other@north.test")
    ids = world.lay_contacts(
        Person("fine@a.test"),
        Person("hole@b.test", company=" ", attributes={}),
        Person("hole@c.test", first_name=""),
        Person("none@d.test", basis="none"),
        Person("mars@e.test", zone="Mars/Base"),
        Person("life@f.test"),
        Person("no@g.test", company=""),
        Person("данил@h.test"),
        Person("line@i.test", first_name="Ann\nLee"),
    )
    world.run("UPDATE contact SET mailbox_id = %s WHERE id = %s", [other, ids[5]])
    world.suppress_silently("no@g.test")
    report = check_campaign(world.connection, world.read(), campaign_id=None)
    found = {
        (finding.fault, finding.text): (finding.examples, list(finding.places), finding.count, finding.is_wrong)
        for finding in report.findings
    }
    utf8 = ["step 1, variant a", "step 1, variant b", "step 2, variant a"]
    assert found == {
        (Fault.HOLE, "contact.company is missing or blank: not sent"): (
            ["hole@b.test"],
            ["step 1, variant a, subject"],
            1,
            True,
        ),
        (Fault.HOLE, "contact.topic is missing or blank: not sent"): (
            ["hole@b.test"],
            ["step 2, variant a, text"],
            1,
            True,
        ),
        (Fault.HOLE, "contact.first_name is missing or blank: not sent"): (
            ["hole@c.test"],
            ["step 1, variant a, text", "step 1, variant b, html"],
            1,
            True,
        ),
        (Fault.NO_BASIS, "no lawful basis: not enrolled"): (["none@d.test"], [], 1, True),
        (Fault.UNKNOWN_ZONE, "unknown time zone: not planned"): (["mars@e.test (Mars/Base)"], [], 1, True),
        (Fault.NO_MAILBOX, "the mailbox that writes to them for life is not in the pool: not planned"): (
            ["life@f.test"],
            [],
            1,
            True,
        ),
        (Fault.LETTER, "To holds the character U+000A; a header is one line without controls"): (
            ["line@i.test"],
            utf8,
            1,
            True,
        ),
        (Fault.SUPPRESSED, "suppressed: never written to"): (["no@g.test"], [], 1, False),
        (Fault.SMTPUTF8, "only a server that offers SMTPUTF8 takes their letters"): (
            ["данил@h.test"],
            utf8,
            1,
            False,
        ),
    }
    assert not report.is_clean


def test_who_is_left_out_rightly_makes_no_check_fail(world: World) -> None:
    """A suppressed contact is to know, not wrong."""
    world.lay_contacts(Person("fine@a.test"), Person("no@g.test"))
    world.suppress_silently("no@g.test")
    assert check_campaign(world.connection, world.read(), campaign_id=None).is_clean


def test_a_mailbox_without_signature_is_named_and_no_contact_blamed(world: World) -> None:
    """What a mailbox lacks is found once a mailbox, though no contact is written to from it."""
    world.lay_mailbox("bare@north.test", tags=["science"], signature="")
    world.lay_contacts(*(Person(f"p{number}@a.test") for number in range(5)))
    report = check_campaign(world.connection, world.read(), campaign_id=None)
    assert [(finding.fault, finding.examples, finding.count) for finding in report.findings] == [
        (Fault.MAILBOX, ["bare@north.test"], 1)
    ]
    assert report.letters == 5 * 3


def test_a_check_names_the_launch_conditions_and_still_writes_the_letters(world: World) -> None:
    """An identity without a way out does not hide the holes."""
    world.lay_contacts(Person("ann@a.test"), Person("hole@b.test", company=""))
    world.run("UPDATE identity SET opt_out_base_url = 'ftp://x'")
    report = check_campaign(world.connection, world.read(), campaign_id=None)
    assert ["opt-out address" in obstacle for obstacle in report.obstacles] == [True]
    assert [finding.fault for finding in report.findings] == [Fault.HOLE]


def test_a_running_campaign_with_somebody_left_out_has_no_obstacle(world: World) -> None:
    """That nobody more can be enrolled is no obstacle once somebody is."""
    _start(world, Person("ann@a.test"))
    world.lay_contacts(Person("none@b.test", basis="none"))
    stored = read_stored(world.connection, "labs")
    assert check_campaign(world.connection, stored.content, campaign_id=stored.id).obstacles == ()


def test_a_check_holds_reasons_and_not_contacts(world: World) -> None:
    """However many contacts meet a reason, a few examples are kept, and progress is told to the end."""
    world.lay_contacts(*(Person(f"p{number}@a.test", company="") for number in range(30)))
    told: list[tuple[int, int]] = []
    report = check_campaign(
        world.connection, world.read(), campaign_id=None, progress=lambda done, total: told.append((done, total))
    )
    assert (report.findings[0].count, len(report.findings[0].examples)) == (30, 5)
    assert told[-1] == (30, 30)


# -- preview -----------------------------------------------------------------------------------------------------------


def test_a_preview_is_the_letter_with_an_opt_out_that_is_not_valid(world: World) -> None:
    """From the contact's own mailbox; every link shows the preview token, which no key opens."""
    (contact,) = world.lay_contacts(Person("ann@a.test"))
    own = world.one("SELECT max(id) FROM mailbox")
    world.run("UPDATE contact SET mailbox_id = %s WHERE id = %s", [own, contact])
    letter = preview(world.connection, world.read(), "Ann@A.test").letter
    assert (letter.from_address.original, letter.subject) == ("ann1@north.test", "Drift at Acme")
    content = compose(letter).decode()
    assert content.count(PREVIEW_TOKEN) >= 2
    assert read_token([world.vault.opt_out_key], PREVIEW_TOKEN) is None


def test_a_preview_of_a_follow_up_continues_the_thread(world: World) -> None:
    """The real one where there is one, else one made up; the subject is the first letter's."""
    _start(world)
    campaign = read_stored(world.connection, "labs").content
    made_up = preview(world.connection, campaign, "ann@a.test", step=2).letter
    assert (made_up.subject, made_up.in_reply_to) == ("Re: Drift at Acme", "<preview-step-1@north.test>")
    world.lay_message(1, header_id="<real@north.test>")
    real = preview(world.connection, campaign, "ann@a.test", step=2).letter
    assert (real.subject, real.references) == ("Re: Drift", ("<real@north.test>",))


def test_a_preview_says_why_the_letter_would_not_leave(world: World) -> None:
    """Suppressed, without a basis, bound to a mailbox outside the pool: each is said; a hole is an error."""
    (contact, _) = world.lay_contacts(Person("ann@a.test", basis="none"), Person("hole@b.test", company=""))
    world.suppress_silently("ann@a.test")
    other = world.lay_mailbox("other@north.test")
    world.run("UPDATE contact SET mailbox_id = %s WHERE id = %s", [other, contact])
    notes = preview(world.connection, world.read(), "ann@a.test").notes
    assert [word in note for word, note in zip(("suppressed", "lawful", "pool"), notes, strict=True)] == [True] * 3
    with pytest.raises(InputError, match=r"step 1, variant a, subject: contact\.company is missing"):
        preview(world.connection, world.read(), "hole@b.test")


def test_a_preview_names_what_there_is(world: World) -> None:
    """A contact, step or variant that is not there is said."""
    world.lay_contacts(Person("ann@a.test"))
    campaign = world.read()
    with pytest.raises(InputError, match=r"no contact x@x\.test"):
        preview(world.connection, campaign, "x@x.test")
    with pytest.raises(InputError, match="no step 3: the campaign has 2"):
        preview(world.connection, campaign, "ann@a.test", step=3)
    with pytest.raises(InputError, match="no variant c"):
        preview(world.connection, campaign, "ann@a.test", variant="c")
    assert preview(world.connection, campaign, "ann@a.test", variant="b").letter.subject == "A question"
