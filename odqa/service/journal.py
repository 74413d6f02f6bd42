"""The service's log: one JSON object a line."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("odqa.service")


class JsonFormatter(logging.Formatter):
    """Formats a record, with the fields given to `event`, as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        body: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            body["trace"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(body, ensure_ascii=False, default=str)


def event(name: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: object) -> None:
    """Write an event with its fields, and with the trace of an error."""
    LOGGER.log(level, name, extra={"fields": fields}, exc_info=error)


def to_stderr() -> None:
    """Send the service's events, and the web server's warnings, to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    for name, level in (("odqa.service", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
