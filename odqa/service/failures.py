"""What a request can fail of, and the status that tells it.

OdqaError
└── ServiceError
    ├── NotReadyError     503, models and index are still being loaded
    ├── QueueFullError    429, more waits than can be answered in time
    ├── DeadlineError     504, the answer did not come in time
    ├── KeyRefusedError   401, no key or an unknown one
    ├── RightMissingError 403, the key may not write
    ├── NotFoundError     404, no such document
    └── GoneError         499, the client went away
"""

from __future__ import annotations

from odqa.errors import ConfigError, CorpusError, DataError, IndexLockedError, OdqaError, QuestionError


class ServiceError(OdqaError):
    """A request can't be served as it stands."""

    status = 500
    headers: tuple[tuple[str, str], ...] = ()


class NotReadyError(ServiceError):
    """Models and index are still being loaded."""

    status = 503
    headers = (("Retry-After", "1"),)


class QueueFullError(ServiceError):
    """More waits than can be answered in time."""

    status = 429

    def __init__(self, message: str, *, seconds: int) -> None:
        """Ask the client to come back after so many `seconds`."""
        super().__init__(message)
        self.headers = (("Retry-After", str(seconds)),)


class DeadlineError(ServiceError):
    """The answer did not come in time."""

    status = 504


class KeyRefusedError(ServiceError):
    """No key, or one that is not known."""

    status = 401
    headers = (("WWW-Authenticate", "Bearer"),)


class RightMissingError(ServiceError):
    """The key may not do this."""

    status = 403


class NotFoundError(ServiceError):
    """There is no such thing here."""

    status = 404


class GoneError(ServiceError):
    """The client went away."""

    status = 499


def status_of(error: OdqaError) -> int:
    """The HTTP status of an error: the asker's fault is a 4xx."""
    if isinstance(error, ServiceError):
        return error.status
    if isinstance(error, IndexLockedError):
        return 503
    return 422 if isinstance(error, (QuestionError, ConfigError, CorpusError, DataError)) else 500
