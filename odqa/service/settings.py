"""What the one who serves can choose, and the limits on what a request may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

MAX_QUESTIONS = 512
"""Questions of one request."""
MAX_QUESTION_LENGTH = 2_000
"""Characters of a question."""
MAX_CONTEXT_LENGTH = 200_000
"""Characters of a context."""
MAX_TOP_K = 100
MAX_N_BEST = 100
MAX_DOCUMENTS = 1_000
"""Documents of one request."""
MAX_ID_LENGTH = 500
"""Characters of a document's id."""
MAX_TEXT_LENGTH = 4_000_000
"""Characters of a document."""
MAX_SECTIONS = 10_000
"""Sections of a document."""
MAX_HEADING_LENGTH = 2_000
"""Characters of a section's heading."""
MAX_PAGE = 2**31 - 1
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class Settings:
    """How to serve.

    Attributes:
        deadline: Seconds that a request may take at most; it can ask for less.
        batch_tokens: Estimated tokens of one micro-batch; None: what suits the device; 1: no batching.
        queue_tokens: Estimated tokens that may wait.
        max_body: Bytes of a request's body.
        max_documents_body: Bytes of the body of a request that adds documents.
        allowed_hosts: Host names that requests may be addressed to; any where empty.
        cors_origins: Other web sites whose pages may call the service.
        open_writes: Documents may be changed without a key where no keys are set.
        log_questions: Write the questions into the log.
    """

    deadline: float = 30.0
    batch_tokens: int | None = None
    queue_tokens: int = 2_000_000
    max_body: int = 2_000_000
    max_documents_body: int = 64_000_000
    allowed_hosts: tuple[str, ...] = LOOPBACK_NAMES
    cors_origins: tuple[str, ...] = ()
    open_writes: bool = True
    log_questions: bool = False


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
