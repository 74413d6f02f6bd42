"""A client of the service: the pipeline's verbs over HTTP, at once or awaited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote

import httpx2

from odqa.errors import OdqaError
from odqa.types import Answer, Document, Evidence, Hit, Passage, PassageRead, Result, Section

T = TypeVar("T")

TIMEOUT = 60.0
"""Seconds."""


class RequestFailedError(OdqaError):
    """The service refused a request or failed; `retry_after` is in seconds, where the service says so."""

    def __init__(self, message: str, *, status: int, request_id: str, retry_after: int | None) -> None:
        """Keep what the service said."""
        super().__init__(message)
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after


class UnreachableError(OdqaError):
    """Nothing answers at the address, or not in time."""


class Client:
    """Asks a service.

    ```python
    with Client("http://127.0.0.1:8000") as client:
        print(client.ask("In what country is Normandy located?").answers[0].text)
    ```

    Every method raises a RequestFailedError where the service refuses, an UnreachableError where it doesn't answer.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout: float = TIMEOUT) -> None:
        """Talk to the service at `url`, with an API key where it asks for one; `timeout` is in seconds."""
        self._http = httpx2.Client(base_url=_address(url), headers=_headers(key), timeout=timeout)

    def __enter__(self) -> Self:
        """Close the connections at the end of a `with` block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(
        self,
        question: str,
        *,
        top_k: int | None = None,
        n_best: int | None = None,
        abstain: str = "threshold",
        max_risk: float | None = None,
        where: str | None = None,
    ) -> Result:
        """Ask the index; as `Pipeline.answer`."""
        options = {"top_k": top_k, "n_best": n_best, "abstain": abstain, "max_risk": max_risk, "where": where}
        return self._do(_ask([question], options))[0]

    def ask_batch(
        self,
        questions: Sequence[str],
        *,
        top_k: int | None = None,
        n_best: int | None = None,
        abstain: str = "threshold",
        max_risk: float | None = None,
        where: str | None = None,
    ) -> list[Result]:
        """Ask the index several questions; as `Pipeline.answer_batch`."""
        options = {"top_k": top_k, "n_best": n_best, "abstain": abstain, "max_risk": max_risk, "where": where}
        return self._do(_ask(questions, options))

    def read(
        self,
        question: str,
        context: str,
        *,
        n_best: int | None = None,
        abstain: str = "threshold",
        max_risk: float | None = None,
    ) -> Result:
        """Ask a text; as `Reader.answer`."""
        return self._do(_read(question, context, {"n_best": n_best, "abstain": abstain, "max_risk": max_risk}))

    def retrieve(
        self, questions: Sequence[str], *, top_k: int | None = None, where: str | None = None
    ) -> list[list[Hit]]:
        """Find passages; as `Retriever.retrieve`."""
        return self._do(_retrieve(questions, {"top_k": top_k, "where": where}))

    def put(self, documents: Iterable[Document]) -> int:
        """Add or replace documents; returns the index's new generation."""
        return self._do(_put(documents))

    def remove(self, id: str) -> int:
        """Remove a document; returns the index's new generation."""
        return self._do(_remove(id))

    def index(self) -> dict[str, Any]:
        """What is served: the index, its size, the pipeline, limits."""
        return self._do(_Call("GET", "/v1/index", None, dict))

    def _do(self, call: _Call[T]) -> T:
        try:
            response = self._http.request(call.method, call.path, json=call.body)
        except httpx2.TransportError as error:
            raise _unreachable(self._http.base_url, error) from None
        return call.read(_body(response))


class AsyncClient:
    """Asks a service from a coroutine; see `Client`."""

    def __init__(self, url: str, *, key: str | None = None, timeout: float = TIMEOUT) -> None:
        """Talk to the service at `url`, with an API key where it asks for one; `timeout` is in seconds."""
        self._http = httpx2.AsyncClient(base_url=_address(url), headers=_headers(key), timeout=timeout)

    async def __aenter__(self) -> Self:
        """Close the connections at the end of an `async with` block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ask(
        self,
        question: str,
        *,
        top_k: int | None = None,
        n_best: int | None = None,
        abstain: str = "threshold",
        max_risk: float | None = None,
        where: str | None = None,
    ) -> Result:
        """Ask the index; as `Pipeline.answer`."""
        options = {"top_k": top_k, "n_best": n_best, "abstain": abstain, "max_risk": max_risk, "where": where}
        return (await self._do(_ask([question], options)))[0]

    async def ask_batch(
        self,
        questions: Sequence[str],
        *,
        top_k: int | None = None,
        n_best: int | None = None,
        abstain: str = "threshold",
        max_risk: float | None = None,
        where: str | None = None,
    ) -> list[Result]:
        """Ask the index several questions; as `Pipeline.answer_batch`."""
        options = {"top_k": top_k, "n_best": n_best, "abstain": abstain, "max_risk": max_risk, "where": where}
        return await self._do(_ask(questions, options))

    async def read(
        self,
        question: str,
        context: str,
        *,
        n_best: int | None = None,
        abstain: str = "threshold",
        max_risk: float | None = None,
    ) -> Result:
        """Ask a text; as `Reader.answer`."""
        return await self._do(_read(question, context, {"n_best": n_best, "abstain": abstain, "max_risk": max_risk}))

    async def retrieve(
        self, questions: Sequence[str], *, top_k: int | None = None, where: str | None = None
    ) -> list[list[Hit]]:
        """Find passages; as `Retriever.retrieve`."""
        return await self._do(_retrieve(questions, {"top_k": top_k, "where": where}))

    async def put(self, documents: Iterable[Document]) -> int:
        """Add or replace documents; returns the index's new generation."""
        return await self._do(_put(documents))

    async def remove(self, id: str) -> int:
        """Remove a document; returns the index's new generation."""
        return await self._do(_remove(id))

    async def index(self) -> dict[str, Any]:
        """What is served: the index, its size, the pipeline, limits."""
        return await self._do(_Call("GET", "/v1/index", None, dict))

    async def _do(self, call: _Call[T]) -> T:
        try:
            response = await self._http.request(call.method, call.path, json=call.body)
        except httpx2.TransportError as error:
            raise _unreachable(self._http.base_url, error) from None
        return call.read(_body(response))


@dataclass(frozen=True, slots=True)
class _Call(Generic[T]):
    """A request, and how its reply is read."""

    method: str
    path: str
    body: dict[str, Any] | None
    read: Callable[[Any], T]


def _ask(questions: Sequence[str], options: dict[str, Any]) -> _Call[list[Result]]:
    body = {"question": list(questions), **options}
    return _Call("POST", "/v1/ask", body, lambda reply: [_result(one) for one in reply["results"]])


def _read(question: str, context: str, options: dict[str, Any]) -> _Call[Result]:
    return _Call("POST", "/v1/read", {"question": question, "context": context, **options}, _result)


def _retrieve(questions: Sequence[str], options: dict[str, Any]) -> _Call[list[list[Hit]]]:
    body = {"question": list(questions), **options}
    return _Call(
        "POST", "/v1/retrieve", body, lambda reply: [[_hit(hit) for hit in one["passages"]] for one in reply["results"]]
    )


def _put(documents: Iterable[Document]) -> _Call[int]:
    return _Call("PUT", "/v1/documents", {"documents": [asdict(one) for one in documents]}, _generation)


def _remove(id: str) -> _Call[int]:
    return _Call("DELETE", f"/v1/documents/{quote(id, safe='')}", None, _generation)


def _generation(reply: dict[str, Any]) -> int:
    return int(reply["generation"])


def _result(reply: dict[str, Any]) -> Result:
    answers = tuple(
        _record(Answer, {**one, "evidence": tuple(_record(Evidence, item) for item in one["evidence"])})
        for one in reply["answers"]
    )
    passages = tuple(_record(PassageRead, one) for one in reply["passages"])
    return _record(Result, {**reply, "answers": answers, "passages": passages})


def _hit(reply: dict[str, Any]) -> Hit:
    sections = (_record(Section, reply),) if reply["page"] is not None or reply["heading"] is not None else ()
    return _record(Hit, {**reply, "passage": _record(Passage, {**reply, "sections": sections})})


def _record(kind: type[T], reply: dict[str, Any]) -> T:
    """A record from the fields that it knows."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in reply.items() if name in known})


def _address(url: str) -> httpx2.URL:
    try:
        address = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise UnreachableError(f'"{url}" is no address: {error}') from None
    if address.scheme not in ("http", "https") or not address.host:
        raise UnreachableError(f'"{url}" is no address of a service. Write it like http://127.0.0.1:8000')
    return address


def _headers(key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    if not key.isascii() or not key.isprintable():
        raise OdqaError("The API key holds a character that no key can hold: it is ASCII without control characters.")
    return {"Authorization": f"Bearer {key}"}


def _unreachable(url: object, error: Exception) -> UnreachableError:
    return UnreachableError(f"Can't reach the service at {url}: {error or type(error).__name__}. Is it running?")


def _body(response: httpx2.Response) -> Any:
    try:
        body = response.json()
    except ValueError:
        body = None
    if response.is_success and isinstance(body, dict):
        return body
    told = body if isinstance(body, dict) else {}
    after = response.headers.get("Retry-After", "")
    raise RequestFailedError(
        str(told.get("error", f"{response.url} answered {response.status_code}; is it an odqa service?")),
        status=response.status_code,
        request_id=str(told.get("request_id", "")),
        retry_after=int(after) if after.isdecimal() else None,
    )
