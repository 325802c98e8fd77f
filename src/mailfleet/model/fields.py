"""Fields that repeat: a word out of a closed set is text under a CHECK constraint."""

from enum import StrEnum
from typing import Any

from django.db import models


def word(kind: type[StrEnum], **options: Any) -> "models.TextField[Any, Any]":
    """A column that holds a member of `kind`; pair it with `one_of`."""
    return models.TextField(choices=[(member.value, member.value) for member in kind], **options)


def one_of(column: str, kind: type[StrEnum], *, table: str) -> models.CheckConstraint:
    """The CHECK that keeps `column` inside `kind`."""
    return models.CheckConstraint(
        condition=models.Q(**{f"{column}__in": [member.value for member in kind]}), name=f"{table}_{column}_known"
    )
