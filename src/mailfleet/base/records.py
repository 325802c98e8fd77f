"""Settings of numbers and durations, as the database keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Recorded:
    """Base of dataclasses whose fields are numbers and durations, each with a default."""

    def as_record(self) -> dict[str, float]:
        """Plain values, for the database: durations in seconds."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: v.total_seconds() if isinstance(v, timedelta) else v for name, v in values.items()}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """What the record does not name has its default; what it names and we do not know is left out."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            if field.name in record:
                is_duration = isinstance(field.default, timedelta)
                values[field.name] = timedelta(seconds=record[field.name]) if is_duration else record[field.name]
        return cls(**values)
