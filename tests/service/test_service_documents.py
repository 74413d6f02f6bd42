"""Documents put and removed over HTTP: durable when acknowledged, seen by the next search, no request dropped."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from odqa.client import Client
from odqa.embedder import Embedder
from odqa.index import Index
from odqa.pipeline import Pipeline
from odqa.reader import Reader
from odqa.recipes import RetrieverRecipe
from odqa.retriever import Retriever
from odqa.service import Settings, create_app
from odqa.service.host import Loaded
from odqa.types import Document, Section
from tests.service.server import ASK, Served, serving, until

DOCUMENTS = "/v1/documents"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("written")


@pytest.fixture(autouse=True)
def own_home(home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODQA_HOME", str(folder))


@pytest.fixture(scope="module")
def load(folder: Path, embedder: Embedder, reader: Reader, documents: list[Document]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ODQA_HOME", str(folder))
        Index.build("live", documents, embedder=embedder)

    def made() -> Loaded:
        retriever = Retriever(Index.open("live"), RetrieverRecipe(top_k=3), embedder=embedder)
        return Loaded(Pipeline(retriever, reader, name="live"), lambda: Embedder(embedder.name, device="cpu"))

    return made


@pytest.fixture
def live(load: Any, own_home: None) -> Iterator[Served]:
    with serving(create_app(load)) as one:
        yield one


def put(served: Served, *documents: dict[str, Any]) -> Any:
    return served.request("PUT", DOCUMENTS, json={"documents": documents})


def remove(served: Served, id: str) -> Any:
    return served.request("DELETE", f"{DOCUMENTS}/{id}")


def first(served: Served, question: str, **options: Any) -> str:
    body = served.post("/v1/retrieve", {"question": question, "top_k": 1, **options}).json()
    return str(body["passages"][0]["document_id"])


def sectioned(*sections: dict[str, Any]) -> dict[str, Any]:
    return {"documents": [{"id": "a", "text": "12345", "sections": sections}]}


def ids() -> set[str]:
    return {document.id for document in Index.open("live").documents()}


def test_what_is_acknowledged_is_on_the_disk_and_in_sight(live: Served) -> None:
    text = "Zebras wear stripes of black and white in the savanna."
    done = put(live, {"id": "zoo/zebra ü", "text": text, "title": "Zebra", "metadata": {"year": 2001}})
    assert done.status_code == 200
    assert (done.json()["stored"], done.json()["replaced"]) == (1, 0)
    assert done.json()["generation"] == live.get("/v1/index").json()["generation"]
    assert "zoo/zebra ü" in ids()
    assert first(live, "zebras wear stripes savanna") == "zoo/zebra ü"
    assert first(live, "the normans", where="year = 2001") == "zoo/zebra ü"
    again = put(live, {"id": "zoo/zebra ü", "text": "Giraffes eat acacia leaves."}, {"id": "other", "text": "Else."})
    assert (again.json()["stored"], again.json()["replaced"]) == (2, 1)
    assert first(live, "giraffes eat acacia") == "zoo/zebra ü"
    gone = remove(live, "zoo%2Fzebra%20%C3%BC")
    assert gone.status_code == 200
    assert gone.json()["removed"] == "zoo/zebra ü"
    assert "zoo/zebra ü" not in ids()
    assert first(live, "giraffes eat acacia") != "zoo/zebra ü"
    assert remove(live, "zoo%2Fzebra%20%C3%BC").status_code == 404
    assert remove(live, "other").status_code == 200


PAGES = "The moon is made of rock.\nThe sun is made of plasma. 🌞 It is hot."


def read_back(served: Served, question: str) -> dict[str, Any]:
    asked = {"question": question, "where": "kind = 'pages'", "abstain": "never", "n_best": 1}
    return dict(served.post(ASK, asked).json()["answers"][0])


def test_an_answer_names_its_page_and_heading(live: Served) -> None:
    second = PAGES.index("The sun")
    sections = [{"start": second, "page": 2, "heading": "Sun"}, {"start": 3.0, "heading": "Moon"}, {"start": 0}]
    body = {"id": "pages", "text": PAGES, "metadata": {"kind": "pages"}, "sections": sections}
    assert put(live, body).status_code == 200
    stored = {document.id: document for document in Index.open("live").documents()}["pages"]
    assert stored.sections == (Section(0), Section(3, None, "Moon"), Section(second, 2, "Sun"))
    answer = read_back(live, "what is the sun made of?")
    assert (answer["page"], answer["heading"]) == ((2, "Sun") if answer["start"] >= second else (None, "Moon"))
    whole = {**body, "sections": [{"start": 0, "page": 7, "heading": "Sky"}]}
    assert put(live, whole).status_code == 200
    answer = read_back(live, "what is the sun made of?")
    assert (answer["page"], answer["heading"]) == (7, "Sky")
    assert (answer["evidence"][0]["page"], answer["evidence"][0]["heading"]) == (7, "Sky")
    assert remove(live, "pages").status_code == 200


def test_the_client_carries_sections(live: Served) -> None:
    sent = Document("paged", "Über alles.", "T", {"n": 1}, (Section(0, 1, "A > B"), Section(10, 2)))
    with Client(live.url) as client:
        client.put([sent])
        assert {document.id: document for document in Index.open("live").documents()}["paged"] == sent
        client.remove("paged")


def test_the_description_shows_sections(live: Served) -> None:
    schemas = live.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["DocumentBody"]["properties"]["sections"]["items"] == {"$ref": "#/components/schemas/SectionBody"}
    assert set(schemas["SectionBody"]["properties"]) == {"start", "page", "heading"}
    assert schemas["SectionBody"]["required"] == ["start"]


def test_changes_that_wait_together_make_one_generation(live: Served) -> None:
    before = live.get("/v1/index").json()["generation"]
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(lambda n: put(live, {"id": f"n{n}", "text": f"Number {n} is a number."}), range(16)))
        assert {one.status_code for one in done} == {200}
        assert {f"n{number}" for number in range(16)} <= ids()
        gone = list(pool.map(lambda n: remove(live, f"n{n}"), range(16)))
    assert {one.status_code for one in gone} == {200}
    assert not any(id.startswith("n") for id in ids())
    assert live.get("/v1/index").json()["generation"] - before < 32


def test_no_question_is_dropped_while_documents_change(live: Served) -> None:
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(live.post, ASK, {"question": "who led the normans?", "top_k": 2}) for _ in range(30)]
        for number in range(3):
            assert put(live, {"id": "moving", "text": f"The Normans were led by number {number}."}).status_code == 200
        assert remove(live, "moving").status_code == 200
        assert {one.result().status_code for one in asked} == {200}


def test_what_another_process_wrote_is_taken_up(live: Served, embedder: Embedder) -> None:
    generation = Index.add("live", [Document("elsewhere", "Written by another process.")], embedder=embedder).generation
    until(lambda: live.get("/v1/index").json()["generation"] == generation)
    assert first(live, "written by another process") == "elsewhere"
    assert remove(live, "elsewhere").status_code == 200


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"documents": []}, "at least 1 item"),
        ({"documents": [{"id": "a", "text": " "}]}, "documents.0.text"),
        ({"documents": [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]}, "An id stands twice"),
        ({"documents": [{"id": "a", "text": "x", "metadata": {"deep": {}}}]}, "documents.0.metadata.deep"),
        (sectioned({"start": 5}), "documents.0.sections: A section starts after the end of the text."),
        (sectioned({"start": -1}), "documents.0.sections.0.start: Input should be greater than or equal to 0"),
        (sectioned({"start": 0}, {"start": 1, "page": -1}), "documents.0.sections.1.page"),
        (sectioned({"start": 0, "page": 2**31}), "documents.0.sections.0.page"),
        (sectioned({"start": 0.5}), "documents.0.sections.0.start"),
        (sectioned({"start": 0, "heading": "h" * 2_001}), "documents.0.sections.0.heading"),
        (sectioned({"start": 0, "level": 1}), "documents.0.sections.0.level"),
        (sectioned({"page": 1}), "documents.0.sections.0.start: Field required"),
        (sectioned(*({"start": 0} for _ in range(10_001))), "documents.0.sections: List should have at most 10000"),
    ],
)
def test_documents_that_make_no_sense_are_refused(live: Served, body: Any, told: str) -> None:
    response = live.request("PUT", DOCUMENTS, json=body)
    assert response.status_code == 422
    assert told in response.json()["error"]


def test_an_index_can_be_emptied_and_filled_again(live: Served, documents: list[Document]) -> None:
    for document in documents:
        assert remove(live, document.id).status_code == 200
    empty = live.post(ASK, {"question": "who led the normans?"})
    assert empty.status_code == 200
    assert (empty.json()["no_answer"], empty.json()["passages"]) == (True, [])
    assert put(live, *({"id": one.id, "text": one.text, "title": one.title} for one in documents)).status_code == 200
    assert first(live, "who led the normans?") in {document.id for document in documents}


def test_without_the_right_nothing_is_written(load: Any) -> None:
    with serving(create_app(load, settings=Settings(open_writes=False))) as one:
        assert put(one, {"id": "a", "text": "x"}).status_code == 403
        assert remove(one, "d0").status_code == 403
    assert "a" not in ids()
    assert "d0" in ids()


def test_small_changes_don_t_make_a_large_one_look_endless(live: Served) -> None:
    text = "The engine drives the piston. " * 300
    for number in range(3):
        live.request("DELETE", f"/v1/documents/none{number}")
    with ThreadPoolExecutor(3) as pool:
        large = [{"id": f"large{number}", "text": f"{number} {text}"} for number in range(3)]
        asked = [pool.submit(live.request, "PUT", "/v1/documents", json={"documents": [one]}) for one in large]
        statuses = [one.result().status_code for one in asked]
    assert statuses == [200, 200, 200]
    assert live.request("DELETE", "/v1/documents/large0").status_code == 200
