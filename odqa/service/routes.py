"""The routes of the API. Each parses, asks the host, and answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

import odqa
from odqa.errors import CorpusError
from odqa.service import settings as limits
from odqa.service.documents import Delete, Put, Writer
from odqa.service.failures import GoneError, NotFoundError
from odqa.service.guard import GuardedRoute, guard
from odqa.service.host import Host
from odqa.service.keys import Keys, Right
from odqa.service.metrics import Metrics
from odqa.service.schemas import (
    AskRequest,
    DocumentsRequest,
    Failure,
    Health,
    IndexReply,
    ManyFound,
    ManyResults,
    OneFound,
    OneResult,
    ReadRequest,
    Removed,
    RetrieveRequest,
    Stored,
    document_of,
    hit_body,
    result_body,
)
from odqa.service.settings import Settings
from odqa.service.shell import ticket
from odqa.service.work import Ask, Options, Outcome, Read, Retrieve, Retrieved, Work
from odqa.types import Result

_DESCRIBED = {
    400: "The body can't be read.",
    401: "A key is needed.",
    403: "The key may not do this.",
    404: "There is no such thing.",
    413: "The body is too large.",
    421: "Called by another host name.",
    422: "A value is wrong.",
    429: "The service is busy; Retry-After says when to come back.",
    503: "Not ready.",
    504: "The answer did not come in time.",
}


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How these statuses are described in the API's description."""
    return {status: {"model": Failure, "description": _DESCRIBED[status]} for status in statuses}


_CHANGING = failures(400, 401, 403, 413, 421, 422, 429, 503)
_ASKING = failures(400, 401, 413, 421, 422, 429, 503, 504)


class Service:
    """What the routes share."""

    def __init__(self, host: Host, writer: Writer, settings: Settings, metrics: Metrics) -> None:
        """Answer through `host`, change documents through `writer`."""
        self.host = host
        self.writer = writer
        self.settings = settings
        self.metrics = metrics

    async def answer(
        self, request: Request, works: Sequence[Work], timeout: float | None
    ) -> tuple[list[Outcome], float]:
        """The outcomes of a request's work, and the seconds it waited."""
        fields = ticket(request.scope).fields
        fields["questions"] = len(works)
        if self.settings.log_questions:
            fields["asked"] = [work.question for work in works]
        outcomes, waited = await self.host.answer(works, timeout=timeout, gone=_watch(request))
        timings = {"queue": waited, **outcomes[0].timings}
        self.metrics.stages(timings)
        fields["timings"] = {stage: round(seconds, 6) for stage, seconds in timings.items()}
        return outcomes, waited

    async def results(
        self, request: Request, question: str | list[str], works: Sequence[Work], timeout: float | None
    ) -> dict[str, Any]:
        """Results for the wire: one for a question, a list for a list."""
        outcomes, waited = await self.answer(request, works, timeout)
        found = [outcome for outcome in outcomes if isinstance(outcome, Result)]
        for one in found:
            self.metrics.outcome(no_answer=one.no_answer, passages=one.passages_read)
        ticket(request.scope).fields["no_answers"] = sum(one.no_answer for one in found)
        bodies = [result_body(one, waited=waited) for one in found]
        id = ticket(request.scope).id
        return {**bodies[0], "request_id": id} if isinstance(question, str) else {"results": bodies, "request_id": id}


def api(service: Service, keys: Keys) -> APIRouter:
    """The routes that ask."""
    router = APIRouter(
        prefix="/v1", tags=["Questions"], dependencies=[Depends(guard(keys, Right.READ))], route_class=GuardedRoute
    )

    @router.post("/ask", response_model=OneResult | ManyResults, responses=_ASKING, summary="Ask the index")
    async def ask(body: AskRequest, request: Request) -> dict[str, Any]:
        options = Options(body.top_k, body.where, body.n_best, body.abstain, body.max_risk)
        works = [Ask(question, options) for question in _listed(body.question)]
        return await service.results(request, body.question, works, body.timeout)

    @router.post("/read", response_model=OneResult | ManyResults, responses=_ASKING, summary="Ask a text")
    async def read(body: ReadRequest, request: Request) -> dict[str, Any]:
        options = Options(None, None, body.n_best, body.abstain, body.max_risk)
        works = [Read(question, body.context, options) for question in _listed(body.question)]
        return await service.results(request, body.question, works, body.timeout)

    @router.post("/retrieve", response_model=OneFound | ManyFound, responses=_ASKING, summary="Find passages")
    async def retrieve(body: RetrieveRequest, request: Request) -> dict[str, Any]:
        questions = _listed(body.question)
        works = [Retrieve(question, Options(body.top_k, body.where)) for question in questions]
        outcomes, waited = await service.answer(request, works, body.timeout)
        found = [outcome for outcome in outcomes if isinstance(outcome, Retrieved)]
        bodies = [
            {"question": question, "passages": [hit_body(hit) for hit in one.hits]}
            for question, one in zip(questions, found, strict=True)
        ]
        shared = {
            "index": found[0].index,
            "generation": found[0].generation,
            "timings": {"queue": waited, **found[0].timings},
            "request_id": ticket(request.scope).id,
        }
        return {**bodies[0], **shared} if isinstance(body.question, str) else {"results": bodies, **shared}

    @router.get("/index", response_model=IndexReply, responses=failures(401, 421, 503), summary="What is served")
    async def index(request: Request) -> dict[str, Any]:
        return {**_about(service), "request_id": ticket(request.scope).id}

    return router


def documents(service: Service, keys: Keys) -> APIRouter:
    """The routes that change the index."""
    rights = [Depends(guard(keys, Right.WRITE, open_writes=service.settings.open_writes))]
    router = APIRouter(prefix="/v1/documents", tags=["Documents"], dependencies=rights, route_class=GuardedRoute)

    @router.put("", response_model=Stored, responses=_CHANGING, summary="Add or replace documents")
    async def put(body: DocumentsRequest, request: Request) -> dict[str, Any]:
        given = {one.id: document_of(one) for one in body.documents}
        if len(given) < len(body.documents):
            raise CorpusError("An id stands twice among the documents. Give each document an id of its own.")
        done = await service.writer.change(Put(tuple(given.values())))
        ticket(request.scope).fields.update(stored=len(given), generation=done.generation)
        id = ticket(request.scope).id
        return {"stored": len(given), "replaced": done.found, "generation": done.generation, "request_id": id}

    @router.delete(
        "/{id:path}", response_model=Removed, responses={**_CHANGING, **failures(404)}, summary="Remove a document"
    )
    async def delete(id: Annotated[str, Path(min_length=1, max_length=limits.MAX_ID_LENGTH)], request: Request) -> Any:
        done = await service.writer.change(Delete(id))
        if not done.found:
            raise NotFoundError("There is no document of that id.")
        return {"removed": id, "generation": done.generation, "request_id": ticket(request.scope).id}

    return router


def operations(service: Service, keys: Keys) -> APIRouter:
    """The routes for those who run the service."""
    router = APIRouter(tags=["Operations"])

    @router.get("/healthz", response_model=Health, responses=failures(421), summary="Alive?")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz", response_model=Health, responses=failures(421, 503), summary="Ready to answer?")
    async def readyz() -> dict[str, str]:
        return {"status": "ready" if service.host.loaded else "loading"}

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **failures(401, 421)},
        dependencies=[Depends(guard(keys, Right.READ))],
        summary="Measures for Prometheus",
    )
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _listed(question: str | list[str]) -> list[str]:
    return [question] if isinstance(question, str) else question


def _watch(request: Request) -> Callable[[], asyncio.Task[None]]:
    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            continue
        raise GoneError("The client went away.")

    return lambda: asyncio.create_task(gone())


def _about(service: Service) -> dict[str, Any]:
    pipeline = service.host.loaded.pipeline
    index, reader = pipeline.retriever.index, pipeline.reader.recipe
    made, fitted = index.generation, pipeline.calibration
    return {
        "index": index.name,
        "generation": made.number,
        "created": made.created,
        "documents": made.documents,
        "passages": made.passages,
        "bytes": made.size,
        "embedder": made.embedder.name.rpartition("/")[2],
        "dimension": made.embedder.dimension,
        "description": made.card.description,
        "licence": made.card.licence,
        "risks": [kept.risk for kept in (fitted and fitted.risks) or ()],
        "pipeline": pipeline.name,
        "version": odqa.__version__,
        "defaults": {
            "top_k": pipeline.retriever.recipe.top_k,
            "n_best": reader.n_best,
            "null_threshold": pipeline.null_threshold,
            "threshold_of": "margin" if fitted is None else fitted.threshold_of,
        },
        "limits": {
            "questions": limits.MAX_QUESTIONS,
            "question_length": limits.MAX_QUESTION_LENGTH,
            "context_length": limits.MAX_CONTEXT_LENGTH,
            "top_k": limits.MAX_TOP_K,
            "n_best": limits.MAX_N_BEST,
            "seconds": service.settings.deadline,
        },
    }
