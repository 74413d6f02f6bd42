"""Who may do what: the keys at the door of each route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from odqa.service.failures import KeyRefusedError, RightMissingError
from odqa.service.keys import Keys, Right
from odqa.service.shell import ticket

Guard = Callable[..., Awaitable[None]]

Presented = Annotated[HTTPAuthorizationCredentials | None, Security(HTTPBearer(auto_error=False))]


def guard(keys: Keys, right: Right, *, open_writes: bool = False) -> Guard:
    """A dependency that lets requests with the right through; without any keys all that is not a write."""
    if not keys:
        return _nobody if right is Right.WRITE and not open_writes else _anybody

    async def check(request: Request, credentials: Presented) -> None:
        key = None if credentials is None else keys.find(credentials.credentials)
        if key is None:
            raise KeyRefusedError("An API key is needed: Authorization: Bearer KEY.")
        ticket(request.scope).fields["key"] = key.name
        if right is Right.WRITE and key.right is not Right.WRITE:
            raise RightMissingError("This key may read but not write.")

    return check


async def _anybody() -> None:
    return


async def _nobody() -> None:
    raise RightMissingError("Documents can't be changed without an API key, and this service has none.")
