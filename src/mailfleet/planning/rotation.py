"""Rotation: which mailbox of a pool goes next. The smallest fill of the binding limit first, then the longest unused.

A pool is a tree: provider and identity, account, domain, mailbox. Each node is kept under its rank, (fill, last turn):
the greater of its own fill and that of its best child, which is the fill of the limit that binds. Equal fills go in
turn, so load moves on to another provider, account and domain before it comes back.

Ranks only grow in a run. So a heap may hold old ranks: the top is looked at again before it is believed.
"""

from collections.abc import Iterable
from heapq import heapify, heappop, heapreplace

from mailfleet.planning.lane import Lane, Scope

Rank = tuple[float, int]


class Grove:
    """The tree of one pool: a scope and what is below it. Shared by every rotation over that pool."""

    __slots__ = ("children", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.children: dict[Scope, Grove] | list[Lane] = {}

    @classmethod
    def of(cls, lanes: Iterable[Lane]) -> "Grove":
        """From lanes in any order."""
        root = cls(Scope((), 0))
        for lane in lanes:
            node = root
            for scope in lane.parents:
                assert isinstance(node.children, dict)
                node = node.children.setdefault(scope, cls(scope))
            if isinstance(node.children, dict):
                node.children = []
            node.children.append(lane)
        return root


class Rotation:
    """One order of going over a pool; lanes that it drops never come back to it."""

    def __init__(self, grove: Grove) -> None:
        self._gone: set[Lane] = set()
        self._root = _Node(grove)

    def best(self) -> Lane | None:
        """The lane to go next; None when all are dropped."""
        return self._root.best(self._gone)

    def drop(self, lane: Lane) -> None:
        self._gone.add(lane)


class _Node:
    """A place in one rotation. Its heap is filled when it is first visited."""

    __slots__ = ("_grove", "_heap")

    def __init__(self, grove: Grove) -> None:
        self._grove = grove
        self._heap: list[tuple[float, int, int, _Node | Lane]] | None = None

    def best(self, gone: set[Lane]) -> Lane | None:
        node: _Node | Lane = self
        if self._settle(gone) is None:
            return None
        while isinstance(node, _Node):
            assert node._heap
            node = node._heap[0][3]
        return node

    def _rank(self, gone: set[Lane]) -> Rank | None:
        fill = self._settle(gone)
        return None if fill is None else (max(fill, self._grove.scope.fill), self._grove.scope.last_turn)

    def _settle(self, gone: set[Lane]) -> float | None:
        """Bring the child that goes next to the top, and return its fill; None when no child is left."""
        if self._heap is None:
            self._heap = self._grow()
        heap = self._heap
        while heap:
            fill, last_turn, tie, child = heap[0]
            rank = child._rank(gone) if isinstance(child, _Node) else _lane_rank(child, gone)
            if rank is None:
                heappop(heap)
            elif rank == (fill, last_turn):
                return fill
            else:
                heapreplace(heap, (*rank, tie, child))
        return None

    def _grow(self) -> list[tuple[float, int, int, "_Node | Lane"]]:
        children = self._grove.children
        heap: list[tuple[float, int, int, _Node | Lane]]
        if isinstance(children, dict):
            heap = [(s.fill, s.last_turn, s.tie, _Node(grove)) for s, grove in children.items()]
        else:
            heap = [(lane.own.fill, lane.own.last_turn, lane.own.tie, lane) for lane in children]
        heapify(heap)
        return heap


def _lane_rank(lane: Lane, gone: set[Lane]) -> Rank | None:
    return None if lane in gone else (lane.own.fill, lane.own.last_turn)
