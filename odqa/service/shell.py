"""What surrounds every request: its id, limits on host and body, security headers, the log line, the measures."""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from odqa.service import journal
from odqa.service.metrics import Metrics
from odqa.service.settings import Settings

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PORT = re.compile(r":\d+$")
_PROBES = ("/healthz", "/readyz", "/metrics")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
SECURITY = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_TOO_LARGE = "The request's body is larger than {limit:,} bytes."


@dataclass(slots=True)
class Ticket:
    """A request's id, and the fields that its line in the log will have."""

    id: str
    begin: float = field(default_factory=time.perf_counter)
    status: int = 0
    fields: dict[str, Any] = field(default_factory=dict)


def ticket(scope: Scope) -> Ticket:
    """The ticket of a request."""
    found = scope["odqa.ticket"]
    if not isinstance(found, Ticket):
        raise TypeError("The scope holds no ticket.")
    return found


class Shell:
    """The outermost layer of the application, in plain ASGI so that a client's leaving is seen inside."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        """Surround `app`."""
        self._app = app
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        mine = Ticket(given if _ID.fullmatch(given) else uuid4().hex)
        scope["odqa.ticket"] = mine
        try:
            await self._serve(scope, headers, receive, _sender(send, mine))
        finally:
            self._note(scope, mine)

    async def _serve(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        limit = self._body_limit(scope["path"])
        refusal = self._refusal(headers, limit)
        if refusal is not None:
            await _reply(send, ticket(scope), *refusal)
            return
        try:
            await self._app(scope, _limited(receive, limit), send)
        except Exception as error:
            journal.event("error", level=logging.ERROR, error=error, request_id=ticket(scope).id)
            if not ticket(scope).status:
                await _reply(send, ticket(scope), 500, "Something went wrong here. The log tells more.")

    def _refusal(self, headers: Headers, limit: int) -> tuple[int, str] | None:
        allowed = self._settings.allowed_hosts
        if allowed and _PORT.sub("", headers.get("host", "")).lower() not in allowed:
            return 421, "This service is not called by that host name."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > limit:
            return 413, _TOO_LARGE.format(limit=limit)
        return None

    def _body_limit(self, path: str) -> int:
        documents = path.startswith("/v1/documents")
        return self._settings.max_documents_body if documents else self._settings.max_body

    def _note(self, scope: Scope, mine: Ticket) -> None:
        seconds = time.perf_counter() - mine.begin
        route = getattr(scope.get("route"), "path", "other")
        status = mine.status or 499
        self._metrics.requests.labels(route, scope["method"], str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        line = {"request_id": mine.id, "method": scope["method"], "path": scope["path"], "status": status}
        level = logging.DEBUG if scope["path"] in _PROBES else logging.INFO
        journal.event("request", level=level, **line, seconds=round(seconds, 6), **mine.fields)


def _sender(send: Send, mine: Ticket) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            mine.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = mine.id
            headers.setdefault("Cache-Control", "no-store")
            for name, value in SECURITY.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


def _limited(receive: Receive, limit: int) -> Receive:
    size = 0

    async def receiving() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise HTTPException(413, _TOO_LARGE.format(limit=limit))
        return message

    return receiving


async def _reply(send: Send, mine: Ticket, status: int, error: str) -> None:
    body = json.dumps({"error": error, "request_id": mine.id}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"connection", b"close")] if status == 413 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
