"""The service: HTTP routes over one owner of models and index, with a page to ask from."""

from __future__ import annotations

from odqa.service.app import create_app
from odqa.service.keys import Keys
from odqa.service.settings import Settings

__all__ = ["Keys", "Settings", "create_app"]
