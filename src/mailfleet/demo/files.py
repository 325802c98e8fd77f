"""The files a person would have: fleet.toml, mailboxes.csv, contacts.csv, campaign.toml, and the sandbox's own."""

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from mailfleet.intake.fleet_dump import write_value
from mailfleet.intake.values import write_duration
from mailfleet.providers.sandbox.config import Faults, Personas, write_config
from mailfleet.providers.sandbox.fleet import (
    SandboxFleet,
    make_contacts,
    make_fleet,
    sandbox_config,
    write_contacts_csv,
    write_mailboxes_csv,
)
from mailfleet.providers.sandbox.server import Ports

PACE_SECONDS = 2
RESERVE_AHEAD = timedelta(seconds=2)
MAILBOX_A_DAY = 30
ACCOUNT_A_MINUTE = 900
CONNECTIONS = 400  # chosen: the sandbox minds none; a real provider would
LIST = "demo"

# chosen: enough of each that every way of failing is met in one run of 9,000 letters
FAULTS = Faults(
    dead=0.004,
    greylist=0.02,
    greylist_seconds=2.0,
    defer=0.01,
    refuse=0.003,
    drop_before_data=0.002,
    drop_in_data=0.002,
    drop_before_commit=0.001,
    drop_after_commit=0.001,
)


# chosen: some hundred who answer in one run of 3,000 contacts; they are quicker than people
PEOPLE = Personas(
    reply=0.06,
    refusal=0.02,
    auto_reply=0.03,
    bounce=0.006,
    odd_bounce=0.004,
    complaint=0.001,
    opt_out_link=0.02,
    opt_out_mail=0.01,
    second_letter=0.3,
    junk=0.1,
    delay=(0.2, 1.5),
)
BURNING = 0.4  # chosen: the share of the first domain's letters that are complained of


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How large the pretend world is."""

    mailboxes: int = 1200
    contacts: int = 3000
    senders: int = 2
    seed: int = 1
    is_chaos: bool = False


@dataclass(frozen=True, slots=True)
class DemoFiles:
    """Where everything lies; `campaigns`: name to file, one for each identity."""

    folder: Path
    fleet: SandboxFleet

    @property
    def burning(self) -> str:
        """The domain whose letters are complained of."""
        return self.fleet.mailboxes[0].domain

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.jsonl"

    @property
    def sandbox(self) -> Path:
        return self.folder / "sandbox.json"

    @property
    def fleet_toml(self) -> Path:
        return self.folder / "fleet.toml"

    @property
    def mailboxes_csv(self) -> Path:
        return self.folder / "mailboxes.csv"

    @property
    def contacts_csv(self) -> list[Path]:
        return [self.folder / f"contacts-{number}.csv" for number in range(len(self.fleet.identities))]

    @property
    def campaigns(self) -> dict[str, Path]:
        names = [f"demo-{number + 1}" for number in range(len(self.fleet.identities))]
        return {name: self.folder / f"{name}.toml" for name in names}


def write_sandbox(options: DemoOptions, folder: Path, opt_out_page: str) -> DemoFiles:
    """The fleet and its providers; their ports are not known before they run. `opt_out_page`: where links lead."""
    domains = max(1, min(400, options.mailboxes // 3))
    accounts = max(1, min(12, domains))
    fleet = make_fleet(
        options.seed,
        mailboxes=options.mailboxes,
        domains=domains,
        accounts=accounts,
        providers=min(3, accounts),
        identities=min(2, accounts),
    )
    files = DemoFiles(folder, fleet)
    people = replace(PEOPLE, burning={files.burning: BURNING}, opt_out_at=opt_out_page)
    config = sandbox_config(fleet, files.ledger, faults=FAULTS, latency=(0.005, 0.05), personas=people)
    write_config(config, files.sandbox)
    return files


def write_fleet(files: DemoFiles, options: DemoOptions, ports: Ports) -> None:
    """Everything a person brings to Mailfleet."""
    files.fleet_toml.write_text(_fleet_toml(files.fleet), encoding="utf-8")
    write_mailboxes_csv(files.fleet, ports, files.mailboxes_csv, daily_limit=MAILBOX_A_DAY, pace_seconds=PACE_SECONDS)
    contacts = list(make_contacts(options.seed, options.contacts))
    for number, (path, (name, campaign)) in enumerate(zip(files.contacts_csv, files.campaigns.items(), strict=True)):
        write_contacts_csv(contacts[number :: len(files.fleet.identities)], path)
        campaign.write_text(_campaign_toml(name, files.fleet.identities[number], number), encoding="utf-8")


def _fleet_toml(fleet: SandboxFleet) -> str:
    """Three kinds of limits; the settings make hours into seconds."""
    parts = [
        _table(
            "identities",
            name=name,
            legal_name=f"{name}",
            postal_address="1 Sandbox Road, Testville",
            contact_email="office@sandbox.example",
            opt_out_base_url="https://stop.sandbox.example/o",
        )
        for name in fleet.identities
    ]
    parts += [
        _table("providers", name=name, preset="generic", dialect=dialect, max_connections=CONNECTIONS)
        for name, dialect in fleet.providers.items()
    ]
    parts += [_table("accounts", name=name, provider=provider) for name, provider in fleet.accounts.items()]
    parts += [
        _table("limits", scope="account", name="*", window="rolling 1min", maximum=ACCOUNT_A_MINUTE, source="demo"),
        _table("limits", scope="domain", name="*", window="rolling 1h", maximum=90, source="demo"),
    ]
    ahead = write_value(write_duration(RESERVE_AHEAD))
    settings = f'[settings]\nreserve_ahead = {ahead}\nlease = "10 seconds"\nramp_start = 30\n'
    return "\n".join([*parts, settings])


def _campaign_toml(name: str, identity: str, number: int) -> str:
    return f"""# Three letters, two wordings each; the waits are seconds so that a minute shows them all.
name = {write_value(name)}
identity = {write_value(identity)}
list = {write_value(list_name(number))}

[pool]
tags = ["sandbox"]

[window]
weekdays = ["mon-sun"]
hours = ["00:00-24:00"]
zone = "UTC"
{"".join(_step(step) for step in (1, 2, 3))}"""


def list_name(number: int) -> str:
    return f"{LIST}-{number + 1}"


def _step(number: int) -> str:
    wait = '\nwait = "2 seconds"' if number > 1 else ""
    variants = "".join(
        f'''
[[steps.variants]]
name = "{name}"
{f'subject = "{subject}"' if number == 1 else ""}
text = """
{{{{ contact.first_name | default: "Hello" }}}},

{words} {{{{ contact.topic }}}}: letter {number} of three.

{{{{ mailbox.signature }}}}
"""
'''
        for name, subject, words in (
            ("short", "{{ contact.topic }}", "a word on"),
            ("long", "A question on {{ contact.topic }}", "may we ask how you handle"),
        )
    )
    return f"\n[[steps]]{wait}\n{variants}"


def _table(kind: str, **values: object) -> str:
    lines = "".join(f"{key} = {write_value(value)}\n" for key, value in values.items())
    return f"[[{kind}]]\n{lines}"
