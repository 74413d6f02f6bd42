"""What a model is run for."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """Which outputs an engine gives."""

    READER = "reader"
    """Start and end logits, (rows, tokens) each."""
    ENCODER = "encoder"
    """Last hidden states, (rows, tokens, dimensions)."""
