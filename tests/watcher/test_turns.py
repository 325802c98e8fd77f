"""Whose turn it is: one thread for each mailbox, no server that takes all threads, nothing kept that is not ours."""

from mailfleet.inbox.turns import Held, Place, Turns


def held(turns: Turns, number: int, host: str = "a:993") -> Held:
    it = Held(number, fence=1)
    turns.put(it, host)
    return it


def test_a_server_takes_not_all_threads() -> None:
    """With two of one server in hand, the next is another server's, whoever waits longer; where none waits, the next of
    the same, for no thread is to stand idle."""
    turns = Turns(a_host=2)
    first, second, third, fourth = (held(turns, number) for number in range(4))
    other = held(turns, 9, "b:993")
    assert [turns.take(), turns.take(), turns.take()] == [first, second, other]
    assert [turns.take(), turns.take()] == [third, fourth]


def test_a_mailbox_is_read_by_one_at_a_time() -> None:
    """While it waits or is read it cannot be put again; afterwards it can."""
    turns = Turns(a_host=5)
    it = held(turns, 1)
    turns.put(it, "a:993")
    assert turns.take() is it
    turns.put(it, "b:993")
    turns.done(it, idle=None)
    assert it.place is Place.RESTING
    turns.put(it, "b:993")
    assert (turns.take(), it.host) == (it, "b:993")
    turns.end()
    assert turns.take() is None


def test_news_comes_first() -> None:
    """What the idle pool hands back is read before what is merely due."""
    turns = Turns(a_host=5)
    held(turns, 1)
    idler = Held(2, fence=1, place=Place.IDLING)
    turns.came_back(idler)
    assert turns.take() is idler


def test_what_is_lost_is_not_read() -> None:
    """One that waits is forgotten; one that is read or idles is let go of when it comes back."""
    turns = Turns(a_host=5)
    read = held(turns, 1)
    assert turns.take() is read
    waiting, idler = held(turns, 2), Held(3, fence=1, place=Place.IDLING)
    assert [turns.let_go(read), turns.let_go(waiting), turns.let_go(idler)] == [True, True, False]
    turns.came_back(idler)
    turns.done(read, idle=lambda _: None)
    assert {read.place, waiting.place, idler.place} == {Place.RESTING}
    last = held(turns, 4)
    assert turns.take() is last
