"""The page at `/` and the description at `/docs`: files of this folder, nothing from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

_FOLDER = Path(__file__).resolve().parent
_PAGES = {"/": "ask.html", "/docs": "docs.html"}
_ASSETS = ("shared.css", "ask.css", "ask.js", "docs.css", "docs.js", "icon.svg")
_HEADERS = {"Cache-Control": "no-cache"}


def router() -> APIRouter:
    """The pages and what they load."""
    made = APIRouter(include_in_schema=False)
    for path, name in {**_PAGES, **{f"/page/{name}": name for name in _ASSETS}}.items():
        made.add_api_route(path, _sender(name), methods=["GET", "HEAD"], response_class=FileResponse)
    return made


def _sender(name: str) -> Callable[[], Awaitable[FileResponse]]:
    async def send() -> FileResponse:
        return FileResponse(_FOLDER / name, headers=_HEADERS)

    return send
