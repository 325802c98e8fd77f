"""Who asks, and how often: the client's address behind proxies of ours, and how much of each kind it may have."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from mailfleet.base.errors import InputError

Network = IPv4Network | IPv6Network

CLIENTS = 20_000  # chosen: about 4 MB; the ones not seen for longest are forgotten
_HOPS = 20  # chosen: no chain of proxies is longer
_SUBSCRIBER = 64  # bits: what one subscriber has to choose addresses from (RFC 6177 §2)
UNKNOWN = "unknown"


def parse_proxies(words: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks. InputError names one that is neither."""
    return tuple(_parse_proxy(word) for word in words)


def _parse_proxy(word: str) -> Network:
    try:
        return ip_network(word)
    except ValueError as error:
        raise InputError(
            f"The proxy {word!r} is neither an address nor a network: {error}",
            hint="Name it as 10.0.0.7, 10.0.0.0/24 or fd00::/8.",
        ) from error


def client_of(peer: str, forwarded: Sequence[str], proxies: Sequence[Network]) -> str:
    """The key under which a client is counted: its IPv4 address, or the /64 of its IPv6 address.

    `peer` opened the connection; `forwarded` are the X-Forwarded-For fields in their order. From the right, each proxy
    of ours vouches for the one before it; the first that is none of ours is the client, whatever stands further left.
    """
    hops = [hop.strip() for field in forwarded for hop in field.split(",")][-_HOPS:]
    client = peer
    while hops and _is_proxy(client, proxies):
        client = hops.pop()
    return _key(client)


def _is_proxy(address: str, proxies: Sequence[Network]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    found = (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
    return any(found in network for network in proxies)


def _key(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return UNKNOWN
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ip_network((int(found), _SUBSCRIBER), strict=False))


class Allowance:
    """For each client so many at once, and then so many a second. Its memory is bounded."""

    def __init__(self, *, at_once: int, per_second: float, clients: int = CLIENTS) -> None:
        self._at_once = at_once
        self._per_second = per_second
        self._clients = clients
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client → left, at this second

    def take(self, client: str, now: float) -> bool:
        """Whether it has one left, which is then taken. `now`: monotonic seconds."""
        left, then = self._left.pop(client, (float(self._at_once), now))
        left = min(float(self._at_once), left + (now - then) * self._per_second)
        is_allowed = left >= 1
        self._left[client] = (left - is_allowed, now)
        if len(self._left) > self._clients:
            self._left.popitem(last=False)
        return is_allowed
