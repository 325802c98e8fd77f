"""What those who were written to do: in their mailboxes' mail, and in the ledger."""

import email
import queue
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from mailfleet.base.errors import InputError
from mailfleet.providers.imap_idle import IdleEvent, IdlePool
from mailfleet.providers.imap_mail import Cursor
from mailfleet.providers.sandbox import Event, Personas, read_ledger, said_no
from mailfleet.providers.sandbox.fleet import make_fleet, sandbox_config

from .conftest import OpenStage, Stage
from .peer import PATIENCE


def mails(stage: Stage, count: int, folder: str = "INBOX", dialect: str = "postfix") -> list[EmailMessage]:
    """Everything in the mailbox, once there are `count`: IDLE tells."""
    events: queue.Queue[IdleEvent[str]] = queue.Queue()
    pool = IdlePool(events.put)
    try:
        with stage.read(dialect) as reader:
            while (reader.look(folder).messages or 0) < count:
                reader.first_cursor(folder)
                if (reader.messages or 0) < count:
                    pool.add("it", reader)
                    events.get(timeout=PATIENCE)
            found = [head for batch in reader.read_heads(folder, Cursor(1, 0)) for head in batch.heads]
            bodies = [reader.read_body(folder, head) for head in found]
    finally:
        pool.close()
    return [email.message_from_bytes(body.content, policy=policy.default) for body in bodies if body]  # type: ignore[misc]


def only(stage: Stage) -> tuple[EmailMessage, Event]:
    (mail,) = mails(stage, 1)
    (event,) = read_ledger(stage.ledger).events
    assert (event.contact, event.message_id) == ("zoe.lee@z.example", "<1.zoe.lee@postfix.test>")
    assert (event.mailbox, event.folder) == ("ann@postfix.test", "INBOX")
    return mail, event


@pytest.mark.parametrize("persona", ["reply", "refusal"])
def test_a_person_answers_in_the_thread(open_stage: OpenStage, persona: str) -> None:
    """A reply has In-Reply-To, References and our text quoted under its own; the letter answered is in the ledger."""
    with open_stage(Personas(**{persona: 1.0})) as stage:
        stage.submit("zoe.lee@z.example")
        mail, event = only(stage)
    assert event.what == persona
    assert (mail["In-Reply-To"], mail["References"]) == (event.message_id,) * 2
    assert mail["From"].addresses[0].addr_spec == "zoe.lee@z.example"
    assert mail["Subject"] == "Re: Grüße"
    own, _, quoted = mail.get_content().replace("\r\n", "\n").partition(", Ann Å wrote:\n")
    assert own.strip() and "Müller" not in own
    assert "> Shall we talk? Müller\n> On Tuesday?" in quoted


def test_an_absence_names_a_date(open_stage: OpenStage) -> None:
    """Out of office goes to the envelope's sender, once, however many letters come."""
    with open_stage(Personas(auto_reply=1.0)) as stage:
        stage.submit("zoe.lee@z.example")
        mail, event = only(stage)
        stage.submit("zoe.lee@z.example", step=2)
        stage.sandbox.deliver("ann@postfix.test", b"x")
        assert len(mails(stage, 2)) == 2
    assert (event.what, said_no(read_ledger(stage.ledger))) == ("auto_reply", [])
    assert any(sign.isdigit() for sign in mail.get_content())


def test_a_bounce_is_a_delivery_report(open_stage: OpenStage) -> None:
    """RFC 3464 with the recipient, the status and our header; every letter to a dead address brings one."""
    with open_stage(Personas(bounce=1.0)) as stage:
        stage.submit("zoe.lee@z.example")
        mail, event = only(stage)
        stage.submit("zoe.lee@z.example", step=2)
        assert len(mails(stage, 2)) == 2
    status = next(part for part in mail.walk() if part.get_content_type() == "message/delivery-status")
    about = status.get_payload()[1]
    assert (about["Final-Recipient"], about["Status"]) == ("rfc822; zoe.lee@z.example", "5.1.1")
    assert event.message_id in mail.as_string()
    assert (mail["To"], event.what) == ("ann+m1@postfix.test", "bounce")


def test_an_odd_bounce_is_only_words(open_stage: OpenStage) -> None:
    """The other kind of bounce has no report, and names the recipient in its text."""
    with open_stage(Personas(odd_bounce=1.0)) as stage:
        stage.submit("zoe.lee@z.example")
        mail, _ = only(stage)
    assert mail.get_content_type() == "text/plain" and "  zoe.lee@z.example" in mail.get_content()


def test_a_complaint_carries_the_letter(open_stage: OpenStage) -> None:
    """RFC 5965: type abuse, whom we wrote to, and the letter whole."""
    with open_stage(Personas(complaint=1.0)) as stage:
        stage.submit("zoe.lee@z.example")
        mail, event = only(stage)
    kinds = [part.get_content_type() for part in mail.walk()]
    assert kinds[:3] == ["multipart/report", "text/plain", "message/feedback-report"]
    text = mail.as_string()
    assert "Feedback-Type: abuse" in text and "Original-Rcpt-To: <zoe.lee@z.example>" in text
    assert event.message_id in text


def test_an_opt_out_by_mail_has_the_subject_asked_for(open_stage: OpenStage) -> None:
    """The mailto of List-Unsubscribe is written to, from the contact, with its subject."""
    with open_stage(Personas(opt_out_mail=1.0)) as stage:
        stage.submit("zoe.lee@z.example")
        mail, _ = only(stage)
    assert (mail["To"], mail["Subject"]) == ("ann+out@postfix.test", "stop me")


class _Page(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.put((self.path, self.headers["Host"], body))  # type: ignore[attr-defined]
        self.send_response(202)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def opt_out_page() -> Iterator[tuple[str, queue.Queue[tuple[str, str, bytes]]]]:
    server = HTTPServer(("127.0.0.1", 0), _Page)
    server.asked = queue.Queue()  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", server.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_opt_out_by_link_is_one_click(open_stage: OpenStage) -> None:
    """RFC 8058: POST, its body and the link's own path and host; the status is in the ledger, and counts as a no."""
    with opt_out_page() as (address, asked):
        with open_stage(Personas(opt_out_link=1.0, opt_out_at=address)) as stage:
            stage.submit("zoe.lee@z.example")
            assert asked.get(timeout=PATIENCE) == ("/o/1abc", "go.a.test", b"List-Unsubscribe=One-Click")
            _events(stage, 1)
        ledger = read_ledger(stage.ledger)
    assert [(event.what, event.status, event.mailbox) for event in ledger.events] == [("opt_out_link", 202, "")]
    assert [said.target for said in said_no(ledger)] == ["zoe.lee@z.example"]


def test_a_link_that_leads_away_is_not_followed(open_stage: OpenStage) -> None:
    """A host that is not loopback by its name is not asked, even where it would answer; the ledger says so."""
    with opt_out_page() as (address, asked):
        elsewhere = address.replace("127.0.0.1", "0.0.0.0")
        with open_stage(Personas(opt_out_link=1.0, opt_out_at=elsewhere)) as stage:
            stage.submit("zoe.lee@z.example")
            (event,) = _events(stage, 1)
        assert (event.status, asked.qsize()) == (0, 0)
    assert said_no(read_ledger(stage.ledger)) == []


def _events(stage: Stage, count: int) -> tuple[Event, ...]:
    """The ledger's events once there are `count`; each request over the pipe lets the sandbox go on."""
    for _ in range(10_000):
        events = read_ledger(stage.ledger).events
        if len(events) >= count:
            return events
        stage.sandbox.deliver("ann@ionos.test", b"x")
    raise AssertionError(f"only {len(events)} events")


def test_who_does_what_is_drawn_once_for_each_address(open_stage: OpenStage) -> None:
    """The shares hold over many people, silence among them; the same seed draws the same; nobody answers twice."""
    people = [f"p{number}@z.example" for number in range(120)]
    shares = Personas(reply=0.25, bounce=0.25, complaint=0.25, second_letter=0.5)
    runs = []
    for _ in range(2):
        with open_stage(shares) as stage:
            for step in (1, 2, 3):
                stage.submit(*people, step=step)
            before = len(read_ledger(stage.ledger).events)
            runs.append({(event.contact, event.what) for event in read_ledger(stage.ledger).events[:before]})
            steps = Counter((event.contact, event.what) for event in read_ledger(stage.ledger).events)
        stage.ledger.unlink()
    assert runs[0] == runs[1]
    assert set(steps.values()) == {1, 3}
    assert all((count == 3) == (what == "bounce") for (_, what), count in steps.items())
    kinds = Counter(what for _, what in runs[0])
    assert set(kinds) == {"reply", "bounce", "complaint"}
    assert all(15 < count < 45 for count in kinds.values())


def test_a_domain_burns(open_stage: OpenStage) -> None:
    """Letters of a burning domain are complained of, whoever gets them; those of another are not."""
    with open_stage(Personas(burning={"google.test": 1.0})) as stage:
        stage.submit("zoe.lee@z.example", dialect="postfix")
        stage.submit("zoe.lee@z.example", dialect="google")
        (event,) = _events(stage, 1)
    assert (event.what, event.mailbox) == ("complaint", "ann@google.test")


def test_some_answers_land_in_junk(open_stage: OpenStage) -> None:
    """The share of `junk` decides the folder, and the ledger names it."""
    with open_stage(Personas(reply=1.0, junk=1.0)) as stage:
        stage.submit("zoe.lee@z.example")
        assert len(mails(stage, 1, folder="Junk")) == 1
        assert read_ledger(stage.ledger).events[0].folder == "junk"


def test_nobody_acts_unless_asked_to(open_stage: OpenStage) -> None:
    """By default everybody is silent."""
    with open_stage() as stage:
        stage.submit("zoe.lee@z.example")
        assert stage.sandbox.deliver("ann@postfix.test", b"x") == 1
    assert read_ledger(stage.ledger).events == ()


@pytest.mark.parametrize("shares", [{"reply": 0.6, "bounce": 0.6}, {"reply": -0.1}])
def test_shares_are_shares(shares: dict[str, float]) -> None:
    """Nobody can be two people."""
    with pytest.raises(InputError, match="between 0 and 1"):
        Personas(**shares)


def test_a_fleet_with_personas_keeps_copies_as_its_providers_do(tmp_path: Path) -> None:
    """Google's and Microsoft's kind keep what is sent, a plain server does not; without personas nobody does."""
    fleet = make_fleet(1, mailboxes=12, domains=12)
    keeping = {p.name: p.keeps_sent for p in sandbox_config(fleet, tmp_path / "x", personas=Personas()).providers}
    assert keeping == {"gomail": True, "offmail": True, "plainmail": False}
    assert not any(provider.keeps_sent for provider in sandbox_config(fleet, tmp_path / "x").providers)
