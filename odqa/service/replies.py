"""From errors to replies: one sentence and the request's id, nothing of the inside."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from odqa.errors import OdqaError
from odqa.service import journal
from odqa.service.failures import ServiceError, status_of
from odqa.service.shell import ticket

_INSIDE = "The index or a model can't be used as it stands. The log tells more."
_WORDS = {404: "There is nothing at this address.", 405: "This address takes another method."}
_OTHER_BRANCH = ("string_type", "list_type")
_VALUE_KINDS = {"string_type", "int_type", "float_type", "bool_type"}
_KINDS = {"function-after", "function-wrap", "str", "constrained-str", "list[constrained-str]"}


def register(app: FastAPI) -> None:
    """Let `app` answer errors in this form."""

    @app.exception_handler(OdqaError)
    async def odqa_error(request: Request, error: OdqaError) -> JSONResponse:
        status = status_of(error)
        if status == 500:
            journal.event("error", level=logging.ERROR, error=error, request_id=ticket(request.scope).id)
            return reply(request, status, _INSIDE)
        headers = dict(error.headers) if isinstance(error, ServiceError) else {}
        return reply(request, status, str(error), headers)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        return reply(request, error.status_code, _WORDS.get(error.status_code, error.detail), error.headers or {})

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return reply(request, 422, _explain(error))


def reply(request: Request, status: int, error: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as a response."""
    body = {"error": error, "request_id": ticket(request.scope).id}
    return JSONResponse(body, status_code=status, headers=dict(headers or {}))


def _explain(error: RequestValidationError) -> str:
    """The first thing that is wrong, without what was sent."""
    detail = min(error.errors(), key=lambda one: one["type"] in _OTHER_BRANCH)
    place = [str(part) for part in detail["loc"][1:] if str(part) not in _KINDS]
    if detail["type"] == "json_invalid":
        return "The body is not JSON."
    if "metadata" in place[:-1] and detail["type"] in _VALUE_KINDS:
        value = place[: place.index("metadata") + 2]
        return f"{'.'.join(value)}: must be a text, a number, true, false or null."
    if not place:
        return "The body must be a JSON object, sent as application/json."
    return f"{'.'.join(place)}: {detail['msg']}."
