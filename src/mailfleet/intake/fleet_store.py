"""The fleet in the database, as a fleet file describes it: read, compared, written."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from mailfleet.base.db import Connection, load_queries
from mailfleet.base.errors import InputError, InvariantError
from mailfleet.intake.fleet_diff import diff_fleet
from mailfleet.intake.fleet_file import (
    ALL,
    LIMIT_SCOPES,
    Account,
    Domain,
    FleetFile,
    FleetSettings,
    Identity,
    Limit,
    NamedPool,
    Provider,
    Row,
)
from mailfleet.intake.fleet_plan import FleetPlan, Uses, make_plan
from mailfleet.intake.pool import pool_of, rule_of
from mailfleet.model.words import ScopeKind, WindowKind
from mailfleet.outbox.limits import Window
from mailfleet.outbox.stops import stopping
from mailfleet.outbox.tunables import SETTING as TUNABLES
from mailfleet.outbox.tunables import load_tunables
from mailfleet.providers.presets import GENERIC, Preset, load_presets

QUERIES = load_queries("mailfleet.intake", "fleet.sql")
DEFAULTS = "fleet_defaults"
"""The setting that holds what `outbox.tunables` does not: pace (seconds), daily_limit, hard_cap, domain_daily_limit."""
_KINDS = {"kinds": list(LIMIT_SCOPES)}


def load_fleet(connection: Connection) -> FleetFile:
    """All of the fleet that a file can hold; rows in the order in which they were made."""
    return FleetFile(
        identities=tuple(Identity(**row._asdict()) for row in _rows(connection, "identities")),
        providers=tuple(map(_provider_of_row, _rows(connection, "providers"))),
        accounts=tuple(Account(row.name, row.provider) for row in _rows(connection, "accounts")),
        domains=tuple(
            Domain(row.name, row.identity, tuple(row.dkim_selectors)) for row in _rows(connection, "domains")
        ),
        pools=tuple(NamedPool(row.name, pool_of(row.rule)) for row in _rows(connection, "pools")),
        limits=tuple(
            _limit_of_row(row)
            for row in _rows(connection, "limits", _KINDS)
            if row.name is not None or row.scope_key is None
        ),
        settings=load_settings(connection),
    )


def load_settings(connection: Connection) -> FleetSettings:
    tunables = load_tunables(connection)
    usual = FleetSettings()
    own: dict[str, Any] = next((row.value for row in _rows(connection, "settings", {"name": DEFAULTS})), {})
    return FleetSettings(
        reserve_ahead=tunables.reserve_ahead,
        lease=tunables.lease,
        horizon=tunables.horizon,
        pace=timedelta(seconds=own.get("pace", usual.pace.total_seconds())),
        ramp_start=tunables.ramp_start,
        daily_limit=own.get("daily_limit", usual.daily_limit),
        hard_cap=own.get("hard_cap", usual.hard_cap),
        domain_daily_limit=own.get("domain_daily_limit", usual.domain_daily_limit),
    )


def plan_fleet(connection: Connection, file: FleetFile) -> FleetPlan:
    """What applying the file would do to the fleet as it stands; nothing is written. InputError when it cannot be."""
    named = [limit.name for limit in file.limits if limit.scope == ScopeKind.MAILBOX]
    campaigns = _rows(connection, "campaigns")
    uses = Uses(
        accounts={f"{row.provider}/{row.name}": row.mailboxes for row in _rows(connection, "accounts")},
        domains={row.name: row.mailboxes for row in _rows(connection, "domains")},
        identities=Counter(row.identity for row in campaigns),
        pools=Counter(row.pool for row in campaigns if row.pool),
        mailboxes=frozenset(row.address for row in _rows(connection, "known_mailboxes", {"addresses": named})),
    )
    in_own_words = replace(file, providers=tuple(map(_in_own_words, file.providers)))
    return make_plan(load_fleet(connection), in_own_words, uses)


def apply_fleet(connection: Connection, file: FleetFile, shown: FleetPlan) -> None:
    """Applies the file in one transaction. InputError, and nothing is written, when that is not what was shown."""
    with stopping(connection):
        if plan_fleet(connection, file) != shown:
            raise InputError(
                "The fleet changed while you looked at the difference; nothing was applied.",
                hint="Run the command again.",
            )
        _write(connection, shown.target)
        _remove(connection, shown.before, shown.target)
        write_own_limits(connection, shown.target.settings)
        if missed := diff_fleet(load_fleet(connection), shown.target):
            raise InvariantError(f"{len(missed)} changes of the fleet were not written, the first: {missed[0]}")


def write_rows(connection: Connection, fleet: FleetFile) -> None:
    """Makes or updates identities, providers, accounts and domains. The caller's transaction."""
    _run(connection, "write_identities", map(asdict, fleet.identities))
    _run(connection, "write_providers", map(_record_of_provider, fleet.providers))
    _run(connection, "write_accounts", map(asdict, fleet.accounts))
    _run(connection, "write_domains", map(asdict, fleet.domains))


def write_own_limits(connection: Connection, settings: FleetSettings) -> None:
    """The limits that follow from the rest: the caps of the settings, and what the providers' presets publish."""
    connection.execute(
        QUERIES["write_default_limits"], {"hard_cap": settings.hard_cap, "domain": settings.domain_daily_limit}
    )
    presets = load_presets().values()
    _run(connection, "write_preset_limits", (record for preset in presets for record in _preset_limits(preset)))


def preset_of(provider: Provider) -> Preset:
    """What is known of a provider; of a preset that this version lacks, nothing."""
    presets = load_presets()
    return presets.get(provider.preset, presets[GENERIC])


def _write(connection: Connection, fleet: FleetFile) -> None:
    write_rows(connection, fleet)
    _run(connection, "write_pools", ({"name": row.name, "rule": rule_of(row.pool)} for row in fleet.pools))
    _run(connection, "write_limits", map(_record_of_limit, fleet.limits), _KINDS)
    own = fleet.settings
    tunables = replace(
        load_tunables(connection),
        reserve_ahead=own.reserve_ahead,
        lease=own.lease,
        horizon=own.horizon,
        ramp_start=own.ramp_start,
    )
    defaults = {
        "pace": own.pace.total_seconds(),
        "daily_limit": own.daily_limit,
        "hard_cap": own.hard_cap,
        "domain_daily_limit": own.domain_daily_limit,
    }
    for name, value in ((TUNABLES, tunables.as_record()), (DEFAULTS, defaults)):
        connection.execute(QUERIES["write_setting"], {"name": name, "value": json.dumps(value)})


def _remove(connection: Connection, before: FleetFile, target: FleetFile) -> None:
    """What nothing refers to any more, the referring kinds first."""
    for kind in ("pools", "accounts", "providers", "domains", "identities"):
        old: Sequence[Row] = getattr(before, kind)
        kept = {row.key for row in getattr(target, kind)}
        names = [row.key for row in old if row.key not in kept]
        connection.execute(QUERIES[f"remove_{kind}"], {"names": names})


def _in_own_words(provider: Provider) -> Provider:
    """Without what the preset says as well, so that a file may say it or leave it out."""
    said = _said_by(preset_of(provider))
    return replace(provider, **{name: unset for name, (word, unset) in said.items() if getattr(provider, name) == word})


def _said_by(preset: Preset) -> dict[str, tuple[Any, Any]]:
    """Fields of a provider that are stored as they hold: the preset's word, and how a file leaves it unsaid."""
    return {
        "dialect": ("" if preset.name == GENERIC else preset.name, ""),
        "sent_copy": (preset.sent_copy.value, ""),
        "max_connections": (preset.provider_connections.value, None),
        "max_connections_per_mailbox": (preset.mailbox_connections.value, None),
        "idle": (preset.idle.value, None),
    }


def _provider_of_row(row: Any) -> Provider:
    values = row._asdict()
    idle, acknowledgement = values.pop("idle_seconds"), values.pop("policy_acknowledgement")
    return _in_own_words(Provider(**values, idle=timedelta(seconds=idle), acknowledge_policy=acknowledgement))


def _record_of_provider(provider: Provider) -> dict[str, Any]:
    """Every column: what holds for it now, and the preset's facts that no file changes."""
    preset = preset_of(provider)
    record = asdict(provider)
    record |= {name: word for name, (word, unset) in _said_by(preset).items() if record[name] == unset}
    record["idle_seconds"] = int(record.pop("idle").total_seconds())
    record["policy_acknowledgement"] = record.pop("acknowledge_policy")
    record["rewrites_message_id"] = preset.rewrites_message_id.value
    record["outreach_policy"] = preset.outreach_policy.value
    record["policy_source"] = f"{preset.outreach_policy.source.page}, {preset.outreach_policy.source.seen_on}"
    return record


def _limit_of_row(row: Any) -> Limit:
    is_rolling = row.window_kind == WindowKind.ROLLING
    length = timedelta(seconds=row.window_seconds)
    window = Window("rolling", length) if is_rolling else Window("calendar", zone=row.window_zone)
    return Limit(row.name or ALL, row.scope_kind, window, row.maximum, row.source)


def _record_of_limit(limit: Limit) -> dict[str, Any]:
    return {
        "kind": limit.scope,
        "name": None if limit.name == ALL else limit.name,
        "window_kind": limit.window.kind,
        "window_seconds": int(limit.window.length.total_seconds()),
        "window_zone": limit.window.zone,
        "maximum": limit.maximum,
        "source": limit.source,
    }


def _preset_limits(preset: Preset) -> Iterable[dict[str, Any]]:
    """Those that always hold; one that holds under a condition is for a person to set."""
    for limit in preset.limits:
        if not limit.applies:
            yield {
                "preset": preset.name,
                "kind": limit.scope_kind,
                "window_kind": limit.window_kind,
                "window_seconds": int(limit.length.total_seconds()),
                "window_zone": limit.zone,
                "maximum": limit.maximum,
                "source": f"preset {preset.name}, {limit.source.page}, {limit.source.seen_on}",
            }


def _rows(connection: Connection, name: str, values: Mapping[str, Any] | None = None) -> list[Any]:
    return connection.execute(QUERIES[name], values).fetchall()


def _run(
    connection: Connection, name: str, records: Iterable[Mapping[str, Any]], values: Mapping[str, Any] | None = None
) -> None:
    """Writes records in their order, all by one statement."""
    rows = [{**record, "position": position} for position, record in enumerate(records)]
    connection.execute(QUERIES[name], {"rows": json.dumps(rows), **(values or {})})
