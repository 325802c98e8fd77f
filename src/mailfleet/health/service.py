"""The health service: three loops, each led by one process of the whole installation: judging, the DNS, alerts.

They meet in tables alone. What the network does to the DNS or to an alert never keeps the judge waiting.
"""

import threading

from mailfleet.base.settings import Settings
from mailfleet.health.alerting import Alerting
from mailfleet.health.domains import DnsMeans, Domains
from mailfleet.health.judging import Judging
from mailfleet.health.leading import Led, lead, lead_aside
from mailfleet.outbox.vault import Vault

TICK = 5.0  # chosen: seconds; what came back is counted so soon, and judged within a minute
JUDGE_LOCK, DNS_LOCK, ALERT_LOCK = 0x6D666865, 0x6D66646E, 0x6D66616C  # chosen: as outbox.service.STOP_LOCK
LAST_WORDS = 5.0  # chosen: seconds that a loop aside has to end; whatever it was at, the next one does


class Health:
    """One process's share of the service, until `stop`. SetupError when the settings name a resolver that is none."""

    def __init__(self, conninfo: str, settings: Settings, vault: Vault, *, tick: float = TICK) -> None:
        means = DnsMeans.of(settings)
        self._conninfo = conninfo
        self._stopping = threading.Event()
        self._judging = Led("judge", JUDGE_LOCK, tick, Judging)
        self._aside = (
            Led("dns", DNS_LOCK, tick, lambda connection: Domains(connection, means)),
            Led("alerts", ALERT_LOCK, tick, lambda connection: Alerting(connection, vault)),
        )

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        aside = [lead_aside(led, self._conninfo, self._stopping) for led in self._aside]
        try:
            lead(self._judging, self._conninfo, self._stopping)
        finally:
            self._stopping.set()
            for thread in aside:
                thread.join(LAST_WORDS)
