"""Keeps transformers from talking: its reports, bars and log levels are for scripts, not for a library."""

from __future__ import annotations

import logging as standard
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Let transformers and sentence-transformers show errors alone, then set them back as they were."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    sentences = standard.getLogger("sentence_transformers")
    before = sentences.level
    sentences.setLevel(standard.ERROR)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        sentences.setLevel(before)
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
