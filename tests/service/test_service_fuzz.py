"""Whatever the description allows is answered as described, and nothing at all gives a 500."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from odqa.index import Index
from odqa.service import create_app
from odqa.service.host import Loaded
from tests.service.server import ASK, Served, serving

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

positive_data_acceptance = import_module("schemathesis.specs.openapi.checks").positive_data_acceptance

LIMITS = settings(
    max_examples=25,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much, HealthCheck.too_slow],
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
BEYOND_A_SCHEMA = re.compile("filter|tokens, but at most|question is empty|An id stands twice|A section starts|column")
FIELDS = ("question", "context", "top_k", "n_best", "abstain", "max_risk", "timeout", "where", "documents")


@pytest.fixture(scope="module")
def fuzzed(loaded: Loaded, tmp_path_factory: pytest.TempPathFactory, documents: Any) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("fuzzed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ODQA_HOME", str(folder))
        Index.build("fuzzed", documents, embedder=loaded.pipeline.retriever.embedder)
        index = Index.open("fuzzed")

    def load() -> Loaded:
        return Loaded(loaded.pipeline.over(index), loaded.load_embedder)

    with serving(create_app(load)) as one:
        yield one


@pytest.fixture(autouse=True)
def own_home(home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODQA_HOME", str(next(tmp_path_factory.getbasetemp().glob("fuzzed*"))))


@pytest.fixture(scope="module")
def description(fuzzed: Served) -> Any:
    return schemathesis.openapi.from_url(f"{fuzzed.url}/openapi.json")


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_the_description_is_true(description: Any, mode: Any) -> None:
    for found in description.get_all_operations():
        operation = found.ok()

        @LIMITS
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            response = case.call(timeout=30)
            if response.status_code in (413, 504):
                return
            beyond = response.status_code == 422 and BEYOND_A_SCHEMA.search(response.json()["error"])
            case.validate_response(response, excluded_checks=[positive_data_acceptance] if beyond else [])

        try:
            check()
        except Unsatisfiable:
            assert mode is schemathesis.GenerationMode.NEGATIVE, operation.label


@LIMITS
@given(path=st.sampled_from(["ask", "read", "retrieve"]), body=JSON | st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_json_gets_an_answer(fuzzed: Served, path: str, body: Any) -> None:
    assert fuzzed.post(f"/v1/{path}", body).status_code in (200, 422)


@LIMITS
@given(content=st.binary(max_size=200), kind=st.sampled_from(["application/json", "text/plain", "", "multipart/x"]))
def test_any_bytes_get_an_answer(fuzzed: Served, content: bytes, kind: str) -> None:
    assert fuzzed.post(ASK, content=content, headers={"Content-Type": kind}).status_code in (400, 422)
