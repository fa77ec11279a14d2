"""Logs: an event name plus fields, as JSON or for people. Secrets never reach a log line."""

import logging
import sys
from typing import Any

import structlog

__all__ = ["configure", "logger"]


def configure(*, level: str = "info", as_json: bool | None = None) -> None:
    """Send logs to standard error; JSON unless standard error is a terminal."""
    number = getattr(logging, level.upper(), logging.INFO)
    to_json = not sys.stderr.isatty() if as_json is None else as_json
    renderer: Any = structlog.processors.JSONRenderer() if to_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, format="%(name)s: %(message)s")


def logger(room: str) -> Any:
    """Return a logger whose lines carry the room's name."""
    return structlog.get_logger(room=room)
