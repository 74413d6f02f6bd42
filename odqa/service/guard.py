"""Who may do what: the keys at the door of each route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any

from fastapi import Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from odqa.service.failures import KeyRefusedError, RightMissingError
from odqa.service.keys import Keys, Right
from odqa.service.shell import ticket

Guard = Callable[..., Awaitable[None]]

_BEARER = HTTPBearer(auto_error=False)
Presented = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]


class GuardedRoute(APIRoute):
    """A route whose guards, the dependencies that it was made with, stand before the body is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with the guards before it."""
        handle = super().get_route_handler()
        guards = [one.dependency for one in self.dependencies if one.dependency is not None]

        async def guarded(request: Request) -> Response:
            for check in guards:
                await check(request)
            return await handle(request)

        return guarded


def guard(keys: Keys, right: Right, *, open_writes: bool = False) -> Guard:
    """A dependency that lets requests with the right through; without any keys all that is not a write."""
    if not keys:
        return _nobody if right is Right.WRITE and not open_writes else _anybody

    async def check(request: Request, _: Presented = None) -> None:
        credentials = await _BEARER(request)
        key = None if credentials is None else keys.find(credentials.credentials)
        if key is None:
            raise KeyRefusedError("An API key is needed: Authorization: Bearer KEY.")
        ticket(request.scope).fields["key"] = key.name
        if right is Right.WRITE and key.right is not Right.WRITE:
            raise RightMissingError("This key may read but not write.")

    return check


async def _anybody(_: Request) -> None:
    return


async def _nobody(_: Request) -> None:
    raise RightMissingError("Documents can't be changed without an API key, and this service has none.")
