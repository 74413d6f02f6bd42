"""odqa answers questions from your own documents with the exact span, or says "no answer"."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from odqa.index import Index
    from odqa.pipeline import Pipeline
    from odqa.reader import Reader
    from odqa.types import Abstain, Answer, Document, Result

__version__ = "0.1.0"
__all__ = ["Abstain", "Answer", "Document", "Index", "Pipeline", "Reader", "Result", "__version__"]

_HOMES = {
    "Abstain": "odqa.types",
    "Answer": "odqa.types",
    "Document": "odqa.types",
    "Index": "odqa.index",
    "Pipeline": "odqa.pipeline",
    "Reader": "odqa.reader",
    "Result": "odqa.types",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'odqa' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
