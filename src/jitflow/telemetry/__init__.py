"""Logs: an event name plus fields, as JSON or for people, over the standard library's logging. Secrets never reach a log line."""

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

__all__ = ["Logger", "bind", "configure", "logger"]

_FIELDS = "jitflow_fields"
_bound: ContextVar[Mapping[str, str]] = ContextVar("jitflow_bound", default=MappingProxyType({}))


def bind(**fields: str) -> None:
    """Add fields (`request`, `run`, `node`) to each line that this task writes from now on, and those that it starts."""
    _bound.set({**_bound.get(), **fields})


class Logger:
    """Writes lines that consist of an event's name and fields."""

    def __init__(self, room: str) -> None:
        """Write to the standard logger `jitflow.<room>`."""
        self._logger = logging.getLogger(f"jitflow.{room}")

    def info(self, event: str, **fields: Any) -> None:
        """Write a line of what happened."""
        self._logger.info(event, extra={_FIELDS: fields})

    def warning(self, event: str, **fields: Any) -> None:
        """Write a line of what somebody should look at."""
        self._logger.warning(event, extra={_FIELDS: fields})

    def error(self, event: str, error: BaseException | None = None, **fields: Any) -> None:
        """Write a line of what failed, with the error's traceback if there is one."""
        self._logger.error(event, extra={_FIELDS: fields}, exc_info=error)


def logger(room: str) -> Logger:
    """Return the logger of a room."""
    return Logger(room)


def configure(*, level: str = "info", as_json: bool | None = None) -> None:
    """Send all logs to standard error; as JSON unless standard error is a terminal."""
    handler = logging.StreamHandler(sys.stderr)
    to_json = not sys.stderr.isatty() if as_json is None else as_json
    handler.setFormatter(_Json() if to_json else _Plain("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Libraries tell of every connection at the level of information.
    for noisy in ("httpx", "httpcore", "asyncio", "uvicorn"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_bound.get(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _Plain(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        known = {**_bound.get(), **getattr(record, _FIELDS, {})}
        fields = " ".join(f"{key}={value}" for key, value in known.items())
        return f"{super().formatMessage(record)} {fields}".rstrip()
