"""What burns is held, what explains it and nothing more; and what follows, on the database."""

from datetime import timedelta

from health_scene import LOGIN, POLICY, UNKNOWN, Scene

from mailfleet.health.judging import Judging
from mailfleet.health.store import write_verdict
from mailfleet.providers.oauth.faults import GrantFaultKind

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def write_elsewhere(scene: Scene, mailbox: int) -> None:
    """Letters of the same campaign that went well, from other domains."""
    for other in scene.mailboxes:
        if scene.domain_of(other) != scene.domain_of(mailbox):
            for receiver in ("a.example", "b.example", "r.example"):
                scene.write(other, 40, receiver=receiver)


def burn(scene: Scene, mailbox: int) -> None:
    """Four blocks at two receivers, of a hundred letters of its domain."""
    for receiver in ("a.example", "b.example"):
        scene.provider(receiver, receiver[0])
        scene.write(mailbox, 48, receiver=receiver)
        scene.write(mailbox, 2, receiver=receiver, **POLICY)
    write_elsewhere(scene, mailbox)


def test_a_burning_domain_is_held_and_its_trial_follows(scene: Scene) -> None:
    """Blocks hold the domain for 25 hours; its trial's limit stands before the hold ends; each rung that goes well
    doubles it; after the last nothing binds and the incident is closed."""
    mailbox = scene.mailboxes[0]
    domain = scene.domain_of(mailbox)
    burn(scene, mailbox)
    scene.judge()
    assert scene.holds() == [("domain", domain, "policy")]
    assert timedelta(hours=24) < scene.one("SELECT until - since FROM hold") < timedelta(hours=26)
    assert scene.limits() == [("domain", domain, 5)]
    assert scene.incidents() == [("policy", "domain", domain, 3)]
    scene.judge()
    assert scene.one("SELECT count(*) FROM hold") == 1
    scene.pass_time(timedelta(hours=26))
    scene.judge()
    assert (scene.holds(), scene.limits()) == ([], [("domain", domain, 5)])
    assert len(scene.incidents()) == 1
    reached = []
    for letters in (5, 5, 10, 20, 40):
        scene.write(mailbox, letters)
        scene.judge()
        scene.pass_time(timedelta(hours=3))
        scene.judge()
        reached += [row[2] for row in scene.limits()]
    assert reached == [10, 20, 40, 80, 90]
    scene.write(mailbox, 10)
    scene.judge()
    scene.pass_time(timedelta(hours=3))
    scene.judge()
    scene.judge()
    assert (scene.holds(), scene.limits(), scene.incidents()) == ([], [], [])


def test_a_trial_that_fails_is_held_for_twice_as_long(scene: Scene) -> None:
    """One more block among the first letters after the hold: 50 hours, and the second strike; a third time 100."""
    mailbox = scene.mailboxes[0]
    burn(scene, mailbox)
    scene.judge()
    for strike, hours in ((1, 50), (2, 100)):
        scene.pass_time(timedelta(hours=hours / 2 + 1))
        write_elsewhere(scene, mailbox)
        scene.write(mailbox, 4)
        scene.write(mailbox, 1, receiver="a.example", **POLICY)
        scene.judge()
        [(strikes, length)] = scene.rows("SELECT strikes, until - since FROM hold ORDER BY id DESC LIMIT 1")
        assert strikes == strike and abs(length - timedelta(hours=hours)) < HOUR
        assert scene.limits() == [("domain", scene.domain_of(mailbox), 5)]


def test_a_rung_waits_for_the_answers_to_its_last_letter(scene: Scene) -> None:
    """However long ago the hold ended: letters that left a moment ago are not judged yet."""
    mailbox = scene.mailboxes[0]
    burn(scene, mailbox)
    scene.judge()
    scene.pass_time(timedelta(hours=30))
    scene.write(mailbox, 4)
    scene.judge()
    scene.pass_time(3 * HOUR)
    scene.write(mailbox, 1)
    scene.judge()
    assert scene.limits() == [("domain", scene.domain_of(mailbox), 5)]
    scene.pass_time(3 * HOUR)
    scene.judge()
    assert scene.limits() == [("domain", scene.domain_of(mailbox), 10)]


def test_a_sender_host_s_trial_is_judged_by_its_own_letters(scene: Scene) -> None:
    """What other hosts send says nothing of it, though it counts in the trial of the mailbox that wrote."""
    mailbox = scene.mailboxes[0]
    scene.connection.execute(
        "INSERT INTO hold (scope_kind, scope_key, reason, set_by, family, since, until) SELECT kind, key, '', 'health',"
        " 'unreachable', now() - interval '20 minutes', now() - interval '10 minutes'"
        " FROM (VALUES ('sender_host', 'host-1'), ('mailbox', %s)) AS s (kind, key)",
        [str(mailbox)],
    )
    scene.judge()
    maxima = "SELECT maximum FROM sending_limit WHERE source = 'half_open' ORDER BY scope_kind DESC"
    for host, reached in (("host-2", [5, 10]), ("host-1", [10, 20])):
        scene.write(mailbox, 5, host=host)
        scene.pass_time(timedelta(minutes=6))
        scene.judge()
        assert [row[0] for row in scene.rows(maxima)] == reached


def test_a_campaign_that_was_held_for_weeks_has_a_trial_of_the_first_letters(scene: Scene) -> None:
    """Though nothing of it counts any more, and its mailboxes would write nothing today: five letters, not none."""
    scene.connection.execute("UPDATE mailbox SET daily_limit = 0")
    scene.connection.execute(
        "INSERT INTO hold (scope_kind, scope_key, reason, set_by, family, since) VALUES ('campaign', %s, '', 'health',"
        " 'policy', now() - interval '20 days')",
        [str(scene.campaign)],
    )
    scene.judge()
    assert scene.limits() == [("campaign", scene.campaign, 5)]
    scene.lift(kind="campaign", key=scene.campaign)
    scene.pass_time(3 * HOUR)
    scene.judge()
    assert scene.limits() == [("campaign", scene.campaign, 5)]


def test_a_new_hold_begins_its_trial_anew(scene: Scene) -> None:
    """What the trial before had written is not counted in the new one: its few letters can leave."""
    mailbox = scene.mailboxes[0]
    burn(scene, mailbox)
    scene.judge()
    limit = scene.one("SELECT id FROM sending_limit WHERE source = 'half_open'")
    values = (limit, str(scene.domain_of(mailbox)))
    scene.connection.execute("INSERT INTO usage (limit_id, scope_key, maximum, used) VALUES (%s, %s, 5, 5)", values)
    scene.judge()
    assert scene.one("SELECT count(*) FROM usage") == 1
    scene.pass_time(timedelta(hours=26))
    write_elsewhere(scene, mailbox)
    scene.write(mailbox, 1, receiver="a.example", **POLICY)
    scene.write(mailbox, 4)
    scene.judge()
    assert scene.one("SELECT count(*) FROM usage") == 0
    assert scene.one("SELECT created_at >= (SELECT max(since) FROM hold) FROM sending_limit WHERE id = %s", limit)


def test_a_dead_list_holds_its_campaign_and_no_mailbox(scene: Scene) -> None:
    """A list that bounces everywhere is one cause: the campaign that writes to it is held until a person lifts it, and
    the incident is the list's."""
    dead, good = scene.new_list("dead"), scene.new_list("good")
    for mailbox in scene.mailboxes:
        scene.write(mailbox, 30, lists=(dead,))
        scene.write(mailbox, 6, lists=(dead,), **UNKNOWN)
        scene.write(mailbox, 100, lists=(good,))
    scene.judge()
    assert scene.holds() == [("campaign", scene.campaign, "bounces")]
    assert scene.rows("SELECT until, cause_kind, cause_key::bigint FROM hold") == [(None, "contact_list", dead)]
    assert scene.incidents() == [("bounces", "contact_list", dead, 2)]
    assert scene.one("SELECT text FROM incident").startswith("Contact list dead: 36 of 216 letters")
    scene.judge()
    assert len(scene.holds()) == 1 and scene.one("SELECT count(*) FROM incident") == 1


def test_a_contact_of_two_lists_counts_in_the_smaller(scene: Scene) -> None:
    """Who is in all lists of a campaign and in the one that was just imported counts in that one."""
    everybody, few = scene.new_list("everybody"), scene.new_list("few")
    other = scene.one("INSERT INTO contact_list (name) VALUES ('elsewhere') RETURNING id")
    mailbox = scene.mailboxes[0]
    scene.write(mailbox, 5, lists=(everybody,))
    scene.write(mailbox, 2, lists=(everybody, few, other))
    scene.judge()
    counted = scene.rows("SELECT list_id, count(*) FROM counted_letter GROUP BY 1 ORDER BY 1")
    assert counted == [(everybody, 5), (few, 2)]


def test_after_a_manual_lift_the_first_letters_count_and_nothing_older(scene: Scene) -> None:
    """A person resumes a mailbox that bounced: nothing old holds it again, not even what is learned of old letters
    now; the first letters from after the lift do, to the second, though they are few."""
    mailbox = scene.mailboxes[0]
    write_elsewhere(scene, mailbox)
    scene.write(mailbox, 30)
    scene.write(mailbox, 5, **UNKNOWN)
    late = scene.write(mailbox, 3)
    scene.judge()
    assert scene.holds() == [("mailbox", mailbox, "bounces")]
    scene.lift(kind="mailbox", key=mailbox)
    scene.learn("bounce", late, is_hard=True)
    scene.judge()
    assert scene.holds() == []
    scene.write(mailbox, 3)
    scene.write(mailbox, 2, **UNKNOWN)
    scene.judge()
    assert scene.holds() == [("mailbox", mailbox, "bounces")]
    assert scene.one("SELECT evidence ->> 'letters' FROM hold ORDER BY id DESC LIMIT 1") == "5"


def test_a_hold_that_was_lifted_while_we_judged_is_not_set_again(scene: Scene) -> None:
    """The facts are of before the lift: what was decided from them is not written over it."""
    mailbox = scene.mailboxes[0]
    write_elsewhere(scene, mailbox)
    scene.write(mailbox, 30)
    scene.write(mailbox, 5, **UNKNOWN)
    scene.connection.execute(
        "INSERT INTO hold (scope_kind, scope_key, reason, set_by, family, until) VALUES"
        " ('mailbox', %s, 'for an hour', 'sender', 'bounces', clock_timestamp() + interval '1 hour')",
        [str(mailbox)],
    )
    judging = Judging(scene.connection)
    judging.take()
    assert len(scene.holds()) == 2  # the sender's hour, and ours until it is lifted
    scene.connection.execute("DELETE FROM hold WHERE set_by = 'health'")
    verdict = judging.prepare()
    scene.lift(kind="mailbox", key=mailbox)
    assert [order.scope.key for order in verdict.judgement.orders] == [str(mailbox)]
    write_verdict(scene.connection, verdict)
    assert scene.holds() == []


def test_complaints_halve_and_then_stop(scene: Scene) -> None:
    """One complaint of two hundred letters halves the domain's ramps, once however often it is judged; two stop it;
    a week of better letters brings the ramps back."""
    mailbox = scene.mailboxes[0]
    letters = scene.write(mailbox, 200)
    scene.learn("complaint", letters[:1])
    halved = "SELECT sum(r.halvings) FROM ramp r JOIN mailbox b ON b.id = r.mailbox_id WHERE b.domain_id = %s"
    domain = scene.domain_of(mailbox)
    for _ in range(3):
        scene.judge()
        assert (scene.one(halved, domain), scene.one("SELECT sum(halvings) FROM ramp")) == (3, 3)
    assert scene.holds() == []
    assert scene.incidents() == [("complaints", "domain", domain, 0)]
    scene.learn("complaint", letters[1:3])
    scene.judge()
    assert scene.holds() == [("domain", domain, "complaints")]
    assert scene.one(halved, domain) == 0
    scene.pass_time(timedelta(days=8))
    scene.judge()
    assert (scene.holds(), scene.limits()) == ([], [("domain", domain, 5)])


def test_a_bounce_that_names_a_policy_is_a_block_and_no_dead_address(scene: Scene) -> None:
    """What came back later counts on its letter: hard bounces as such, refusals by policy as blocks, complaints; a
    delay counts as nothing."""
    letters = scene.write(scene.mailboxes[0], 4)
    scene.learn("bounce", letters[:1], is_hard=True, reply_class="recipient_unknown", reply_scope="recipient")
    scene.learn("bounce", letters[1:2], reply_class="policy_spam_block", reply_scope="message")
    scene.learn("complaint", letters[2:3])
    scene.learn("bounce", letters[3:], reply_class="temporary_system", reply_scope="recipient")
    scene.judge()
    flags = scene.rows("SELECT bounced, blocked, complained FROM counted_letter ORDER BY message_id")
    no, yes = False, True
    assert flags == [(yes, no, no), (no, yes, no), (no, no, yes), (no, no, no)]


def test_a_letter_counts_once_by_its_latest_word(scene: Scene) -> None:
    """Put off by policy and then accepted, it stays blocked at the moment it was; when the hold for it ended in
    between it is a letter of the trial, and blocked no more. What no server judged is not counted."""
    mailbox = scene.mailboxes[0]
    put_off = {**POLICY, "outcome": "deferred", "code": 451}
    [first, second] = scene.write(mailbox, 2, ago=2 * HOUR, **put_off)
    scene.write(mailbox, 1, outcome="unreached", code=None, stage="connect")
    scene.write(mailbox, 1, outcome="rejected", code=None, stage="")
    scene.write(mailbox, 1, outcome="ambiguous", code=None)
    scene.write(mailbox, 1, outcome="deferred", code=451, reply_class="greylisted", reply_scope="message")
    scene.try_again(first, ago=HOUR)
    scene.judge()
    age = "SELECT message_id, blocked, date_trunc('hour', clock_timestamp() - at) FROM counted_letter ORDER BY 1"
    assert scene.rows(age) == [(first, True, 2 * HOUR), (second, True, 2 * HOUR)]
    scene.connection.execute(
        "INSERT INTO hold (scope_kind, scope_key, reason, set_by, family, since, lifted_at) SELECT 'mailbox', %s,"
        " '', 'health', 'policy', now() - interval '110 minutes', now() - interval '90 minutes'",
        [str(mailbox)],
    )
    scene.try_again(second, ago=HOUR)
    scene.judge()
    assert scene.rows(age) == [(first, False, HOUR), (second, False, HOUR)]


def test_only_the_end_of_a_hold_on_its_own_scopes_makes_a_block_forgotten(scene_of) -> None:
    """A letter was blocked and then accepted: it stays blocked, whatever other mailboxes, domains, campaigns or
    receivers were held and let go in between; not when it was one of its own."""
    scene = scene_of(6, 2, 2, 2, 2)
    mailbox = scene.mailboxes[0]
    scene.provider("r.example", "google")
    own = scene.rows(
        "SELECT b.id, b.domain_id, b.account_id, a.provider_id, d.identity_id FROM mailbox b"
        " JOIN domain d ON d.id = b.domain_id JOIN account a ON a.id = b.account_id WHERE b.id = %s",
        mailbox,
    )[0]
    kinds = ("mailbox", "domain", "account", "provider", "identity")
    scopes = [
        *zip(kinds, map(str, own), strict=True),
        ("campaign", str(scene.campaign)),
        ("recipient_provider", "google"),
    ]
    held = (
        "INSERT INTO hold (scope_kind, scope_key, reason, set_by, family, since, lifted_at) VALUES"
        " (%s, %s, '', 'health', 'policy', now() - interval '110 minutes', now() - interval '90 minutes')"
    )
    for kind, key in scopes:
        for other in (True, False):
            scene.connection.execute("DELETE FROM hold")
            [letter] = scene.write(mailbox, 1, ago=2 * HOUR, **{**POLICY, "outcome": "deferred", "code": 451})
            scene.judge()
            scene.connection.execute(held, [kind, f"{key}0" if other else key])
            scene.try_again(letter, ago=HOUR)
            scene.judge()
            blocked = scene.one("SELECT blocked FROM counted_letter WHERE message_id = %s", letter)
            assert (kind, other, blocked) == (kind, other, other)


def test_windows_move_on_with_the_clock(scene: Scene) -> None:
    """A block counts for 24 hours, a bounce for 7 days, and after 8 days the letter is forgotten."""
    mailbox = scene.mailboxes[0]
    scene.write(mailbox, 100)
    scene.write(mailbox, 2, **POLICY)
    scene.write(mailbox, 2, **UNKNOWN)
    halved = "SELECT sum(halvings) FROM ramp"
    scene.judge()
    assert scene.one(halved) == 3 and [row[:2] for row in scene.incidents()] == [("policy", "domain")]
    scene.pass_time(DAY + timedelta(seconds=1))
    scene.judge()
    assert scene.one(halved) == 0 and scene.incidents() == []
    scene.write(mailbox, 4, **UNKNOWN)
    scene.judge()
    assert [row[:2] for row in scene.incidents()] == [("bounces", "campaign")]
    scene.pass_time(6 * DAY)
    scene.judge()
    scene.lift(kind="campaign", key=scene.campaign)
    scene.write(mailbox, 96)
    scene.judge()
    assert scene.one("SELECT evidence ->> 'letters' FROM hold") == "108"
    scene.pass_time(DAY + HOUR)
    scene.judge()
    assert scene.one("SELECT count(*) FROM counted_letter") == 4 + 96


def test_a_hundred_mailboxes_of_one_account_that_fail_are_one_incident(scene_of) -> None:
    """Their logins are refused: each was held by its sender; one hold on the account takes their place, and one
    incident tells of it, with the letters a day at stake. What was replaced did not end, so no trial of it follows."""
    scene = scene_of(120, 40, 2, 1, 1)
    accounts = dict(scene.rows("SELECT id, account_id FROM mailbox"))
    broken = min(accounts.values())
    failing = [mailbox for mailbox, account in accounts.items() if account == broken]
    for mailbox, account in accounts.items():
        if account == broken:
            scene.write(mailbox, 1, **LOGIN)
            scene.connection.execute(
                "INSERT INTO hold (scope_kind, scope_key, reason, set_by, family)"
                " VALUES ('mailbox', %s, '535', 'sender', 'authentication')",
                [str(mailbox)],
            )
        else:
            scene.write(mailbox, 1)
    scene.judge()
    assert len(failing) == 60
    assert scene.holds() == [("account", broken, "authentication")]
    wide = scene.one("SELECT id FROM hold WHERE scope_kind = 'account'")
    assert scene.rows("SELECT DISTINCT absorbed_into_id, lifted_by FROM hold WHERE scope_kind = 'mailbox'") == [
        (wide, "health")
    ]
    assert scene.incidents() == [("authentication", "account", broken, 3)]
    [(letters, text)] = scene.rows("SELECT letters_a_day, text FROM incident")
    assert letters == 60 * 30 and "Letters a day at stake: 1800." in text
    scene.pass_time(HOUR)
    scene.judge()
    assert scene.holds() == [("account", broken, "authentication")]
    assert scene.limits() == [("account", broken, 5)]


def test_readings_that_fail_together_are_their_accounts_and_a_single_one_is_the_watchers(scene_of) -> None:
    """IMAP logins of one account are refused: the account is held. One mailbox that cannot be read, or an inbox that
    is read well, changes nothing here."""
    scene = scene_of(12, 4, 2, 1, 1)
    accounts = dict(scene.rows("SELECT id, account_id FROM mailbox"))
    broken = min(accounts.values())
    scene.connection.execute("INSERT INTO reading (mailbox_id, read_at) SELECT id, clock_timestamp() FROM mailbox")
    fail = "UPDATE reading SET failing_since = clock_timestamp(), fault_kind = %s, failures = %s WHERE mailbox_id = %s"
    scene.connection.execute(fail, ["login", 1, next(m for m, a in accounts.items() if a != broken)])
    scene.judge()
    assert (scene.holds(), scene.incidents()) == ([], [])
    for mailbox, account in accounts.items():
        if account == broken:
            scene.connection.execute(fail, ["login", 1, mailbox])
    scene.judge()
    assert scene.holds() == [("account", broken, "authentication")]
    scene.pass_time(HOUR)
    scene.lift(kind="account", key=broken)
    scene.judge()
    assert scene.holds() == []


def test_silence_is_judged_from_old_letters_and_a_lift_makes_it_begin_anew(scene: Scene) -> None:
    """A mailbox that people answered and now do not: held for a week. Once lifted, the letters from before are no
    evidence; nor is a mailbox silent whose inbox nobody reads."""
    mailbox, blind = scene.mailboxes[:2]
    for one in (mailbox, blind):
        answered = scene.write(one, 100, ago=30 * DAY)
        scene.learn("reply", answered[:20], ago=25 * DAY)
        scene.write(one, 200, ago=10 * DAY)
    scene.write(mailbox, 50)
    scene.connection.execute("INSERT INTO reading (mailbox_id, read_at) VALUES (%s, clock_timestamp())", [mailbox])
    scene.judge()
    assert scene.holds() == [("mailbox", mailbox, "silence")]
    assert scene.one("SELECT evidence ->> 'unanswered' FROM hold") == "200"
    judging = Judging(scene.connection)
    judging.judge()
    scene.lift(kind="mailbox", key=mailbox)
    judging.judge()
    assert scene.holds() == []
    scene.judge()
    assert scene.holds() == []


def test_an_inbox_that_is_read_again_is_judged_by_what_was_in_it(scene: Scene) -> None:
    """The watchers were away: the mailbox was blind. They come back, and read its inbox and the replies that waited
    there: it never was silent, whenever it was counted last."""
    mailbox = scene.mailboxes[0]
    answered = scene.write(mailbox, 100, ago=30 * DAY)
    scene.learn("reply", answered[:20], ago=25 * DAY)
    waiting = scene.write(mailbox, 200, ago=10 * DAY)
    read = "INSERT INTO reading (mailbox_id, read_at) VALUES (%s, clock_timestamp() - interval '9 days')"
    scene.connection.execute(read, [mailbox])
    judging = Judging(scene.connection)
    judging.judge()
    scene.learn("reply", waiting[:40])
    scene.connection.execute("UPDATE reading SET read_at = clock_timestamp()")
    judging.judge()
    assert scene.holds() == []
    scene.judge()
    assert scene.holds() == []


def test_letters_of_before_a_hold_for_silence_are_no_evidence_as_long_as_they_are_counted(scene: Scene) -> None:
    """The hold ended more than a month ago, and its trial with it; the letters that it was set for are of less than two
    months ago. They do not set it again."""
    mailbox = scene.mailboxes[0]
    answered = scene.write(mailbox, 100, ago=58 * DAY)
    scene.learn("reply", answered[:20], ago=56 * DAY)
    scene.write(mailbox, 200, ago=50 * DAY)
    scene.connection.execute("INSERT INTO reading (mailbox_id, read_at) VALUES (%s, clock_timestamp())", [mailbox])
    scene.judge()
    assert scene.holds() == [("mailbox", mailbox, "silence")]
    scene.connection.execute("UPDATE hold SET since = since - interval '40 days', until = until - interval '40 days'")
    scene.judge()
    assert (scene.holds(), scene.limits()) == ([], [])


def test_what_a_person_holds_is_left_alone(scene: Scene) -> None:
    """A hold without a family is neither absorbed nor followed by a trial, and makes no incident."""
    mailbox = scene.mailboxes[0]
    for kind, key in (("mailbox", mailbox), ("domain", scene.domain_of(mailbox))):
        scene.connection.execute(
            "INSERT INTO hold (scope_kind, scope_key, reason, set_by) VALUES (%s, %s, 'by hand', 'ann')",
            [kind, str(key)],
        )
    scene.judge()
    assert len(scene.holds()) == 2 and scene.limits() == [] and scene.incidents() == []
    scene.lift(kind="mailbox", key=mailbox)
    scene.judge()
    assert len(scene.holds()) == 1 and scene.limits() == []


def test_a_judgement_is_not_made_twice_a_minute_nor_later_than_five(scene: Scene) -> None:
    """At the start at once; then when something is new, but for a minute not; with nothing new, after five."""
    judging = Judging(scene.connection)
    judged = []

    def turn(after: timedelta) -> None:
        if judging.judged_at is not None:
            judging.judged_at -= after
        before = judging.judged_at
        judging.take()
        judged.append(judging.judged_at != before)

    turn(timedelta())
    scene.write(scene.mailboxes[0], 1)
    turn(timedelta(seconds=30))
    turn(timedelta(seconds=31))
    turn(timedelta(seconds=120))
    turn(timedelta(seconds=181))
    assert judged == [True, False, True, False, True]


def test_grants_that_do_not_serve_are_incidents_until_they_do(scene: Scene) -> None:
    """A refused grant and a secret that ends are told for the account, once, with what to do; both end with the new
    grant."""
    account = scene.one("SELECT min(id) FROM account")
    scene.connection.execute(
        "INSERT INTO oauth_grant (account_id, flow, client_id, token_url, scope, credential, expires_on, fault_kind,"
        " fault_text, fault_hint, fault_at, fault_until) VALUES (%s, 'client_credentials', 'app', 'https://t.test', '',"
        " '', current_date + 10, %s, 'The secret was refused.', 'Connect it anew.', now(), now() + interval '1 hour')",
        [account, next(iter(GrantFaultKind))],
    )
    for _ in range(2):
        scene.judge()
        assert [row[:3] for row in scene.incidents()] == [("authentication", "account", account)]
    assert scene.one("SELECT text FROM incident").endswith("Connect it anew.")
    scene.connection.execute(
        "UPDATE oauth_grant SET fault_kind = NULL, fault_text = '', fault_hint = '', fault_at = NULL,"
        " fault_until = NULL"
    )
    scene.judge()
    assert "ends on" in scene.one("SELECT text FROM incident WHERE closed_at IS NULL")
    scene.connection.execute("UPDATE oauth_grant SET expires_on = NULL")
    scene.judge()
    assert scene.incidents() == []
