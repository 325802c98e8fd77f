"""Logs: critical errors only by default, one JSON object a line on stderr. No bodies, no secrets."""

import contextlib
import io
import logging
import sys
from typing import Any, TextIO, cast

import structlog

from mailfleet.base.errors import SetupError


def configure_log(level: str, *, process: str) -> None:
    """Sets this process's log, from "debug" to "critical" and "off"; `process` names it in every line."""
    number = logging.getLevelNamesMapping().get("CRITICAL" if level == "off" else level.upper())
    if number is None:
        raise SetupError(
            f"MAILFLEET_LOG_LEVEL is {level!r}, which is no level.",
            hint="Use off, critical, error, warning, info or debug.",
        )
    stream = cast(TextIO, _Lenient(is_silent=level == "off"))
    logging.basicConfig(level=number, stream=stream, format="%(message)s")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)


class _Lenient(io.TextIOBase):
    """stderr, while it takes what we say: a full disk or a closed pipe behind it must not end a sender."""

    def __init__(self, *, is_silent: bool) -> None:
        self._is_silent = is_silent

    def write(self, text: str) -> int:
        if self._is_silent:
            return len(text)
        with contextlib.suppress(OSError, ValueError):
            return sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


def get_log() -> Any:
    return structlog.get_logger()
