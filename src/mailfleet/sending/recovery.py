"""After a death: what a journal says of the attempts that its senders left open. The rule is pure."""

from collections.abc import Iterable, Mapping

from mailfleet.outbox.records import Row
from mailfleet.outbox.rules import Result, RetryPolicy
from mailfleet.outbox.service import Outbox
from mailfleet.sending.journal import Entry, Journal
from mailfleet.sending.outcomes import lost_after_dot, lost_before_dot, withdrawn


def results_of(attempts: Iterable[Row], entries: Mapping[int, Entry], *, retry: RetryPolicy) -> list[Result]:
    """One result for each open attempt (id, tries) of the journal."""
    return [_result(attempt, entries.get(attempt.id), retry) for attempt in attempts]


def _result(attempt: Row, entry: Entry | None, retry: RetryPolicy) -> Result:
    if entry is None:
        return withdrawn(attempt.id, "not_begun", "its sender ended before the letter began")
    if entry.result is not None:
        return entry.result
    if entry.phase == "begin":
        detail = "its sender ended before the final dot"
        return lost_before_dot(attempt.id, detail, attempt.tries, retry).began(entry.began_at)
    detail = "its sender ended after the final dot and before the reply"
    return lost_after_dot(attempt.id, detail).began(entry.began_at)


async def recover(outbox: Outbox, journal: Journal, *, retry: RetryPolicy) -> list[Result]:
    """Settles what dead senders of this journal left, then frees their mailboxes. Safe to repeat.

    1. read the journal, which this process has locked: no one writes it. 2. ask for its open attempts. 3. settle.
    4. free the leases. 5. forget the entries.
    """
    entries = journal.entries()
    known = [attempt for attempt, entry in entries.items() if entry.result is not None]
    attempts = await outbox.attempts_of_journal(journal.id, known)
    results = results_of(attempts, entries, retry=retry)
    await outbox.settle(results)
    await outbox.release_dead(journal.id)
    journal.forget(entries)
    return results
