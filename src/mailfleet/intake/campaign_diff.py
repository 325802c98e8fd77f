"""What a campaign's file changes of the stored campaign, one line a change. Pure."""

from collections.abc import Iterator
from dataclasses import fields
from itertools import zip_longest

from mailfleet.intake.campaign_file import CampaignFile, Step, Variant
from mailfleet.intake.pool import Pool
from mailfleet.intake.values import write_duration

_UNORDERED = ("lists",)


def diff_campaigns(old: CampaignFile, new: CampaignFile) -> tuple[str, ...]:
    """The changes that lead from old to new; empty when there is none. Neither lists nor variants have an order."""
    return (*_field_changes(old, new), *_step_changes(old.steps, new.steps))


def _field_changes(old: CampaignFile, new: CampaignFile) -> Iterator[str]:
    for field in fields(CampaignFile):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if field.name in _UNORDERED:
            before, after = sorted(before), sorted(after)
        if field.name != "steps" and before != after:
            yield f"{field.name}: {_shown(before)} → {_shown(after)}"


def _shown(value: object) -> str:
    """A value as a line can hold it; of a pool and a window only what says something."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, Pool):
        parts = {"": value.include, "not ": value.exclude}
        named = [f"{no}{key.name} {_shown(getattr(s, key.name))}" for no, s in parts.items() for key in fields(s)]
        return "; ".join(text for text in named if not text.endswith(" ")) or "every mailbox of the identity"
    if hasattr(value, "__dataclass_fields__"):
        return "; ".join(f"{name} {_shown(getattr(value, name))}" for name in value.__dataclass_fields__)
    return str(value)


def _step_changes(old: tuple[Step, ...], new: tuple[Step, ...]) -> Iterator[str]:
    for number, (before, after) in enumerate(zip_longest(old, new), 1):
        if before is None:
            yield f"step {number} is added"
        elif after is None:
            yield f"step {number} is removed"
        else:
            if before.wait != after.wait:
                yield f"step {number}: wait {write_duration(before.wait)} → {write_duration(after.wait)}"
            yield from _variant_changes(f"step {number}", before.variants, after.variants)


def _variant_changes(where: str, old: tuple[Variant, ...], new: tuple[Variant, ...]) -> Iterator[str]:
    before, after = {one.name: one for one in old}, {one.name: one for one in new}
    for name, variant in after.items():
        if name not in before:
            yield f"{where}: variant {name} is added"
        elif changed := [f.name for f in fields(variant) if getattr(variant, f.name) != getattr(before[name], f.name)]:
            yield f"{where}, variant {name}: {', '.join(changed)} changed"
    yield from (f"{where}: variant {name} is removed" for name in before if name not in after)
