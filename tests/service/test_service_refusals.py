"""What the service refuses, and how: keys, limits, hosts, bodies that make no sense."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from odqa.errors import ConfigError, ModelError
from odqa.service import Keys, Settings, create_app
from odqa.service.host import Loaded
from odqa.service.settings import MAX_QUESTIONS, is_loopback
from tests.service.server import ASK, Served, serving

QUESTION = "who led the normans?"


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture(scope="module")
def guarded(loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"# ours\nanna:read:{digest('see')}  # the reader\n\nbert:write:{digest('say')}\n")
    settings = Settings(max_body=5_000, max_documents_body=8_000, cors_origins=("https://friend.example",))
    with serving(create_app(lambda: loaded, settings=settings, keys=Keys.load(file))) as one:
        yield one


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "question: Field required"),
        ({"question": ""}, "at least 1 character"),
        ({"question": "  \n"}, "question"),
        ({"question": "why " * 100}, "tokens, but at most"),
        ({"question": "w" * 3000}, "at most 2000 characters"),
        ({"question": []}, "at least 1 item"),
        ({"question": ["why?"] * (MAX_QUESTIONS + 1)}, "at most 512 items"),
        ({"question": "why?", "top_k": 0}, "top_k: Input should be greater than or equal to 1"),
        ({"question": "why?", "top_k": 101}, "top_k: Input should be less than or equal to 100"),
        ({"question": "why?", "top_k": "3"}, "top_k: Input should be a valid integer"),
        ({"question": "why?", "abstain": "maybe"}, "abstain: Input should be 'threshold' or 'never'"),
        ({"question": "why?", "max_risk": 2}, "max_risk: Input should be less than or equal to 1"),
        ({"question": "why?", "colour": 1}, "colour: Extra inputs are not permitted"),
        ([], "The body must be a JSON object"),
        (None, "JSON"),
    ],
)
def test_a_wrong_body_is_told_what_is_wrong(served: Served, body: Any, told: str) -> None:
    response = served.post(ASK, body)
    assert response.status_code == 422
    assert told in response.json()["error"]
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text


def test_what_is_not_json_is_refused(served: Served) -> None:
    headers = {"Content-Type": "application/json"}
    for content in (
        b"{",
        b'{"question": "\\ud800 why?"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"question": ' + b"9" * 5000 + b"}",
    ):
        assert served.post(ASK, content=content, headers=headers).status_code in (400, 422)
    plain = served.post(ASK, content=b'{"question": "why?"}', headers={"Content-Type": "text/plain"})
    assert plain.status_code == 422


def test_unknown_addresses_and_methods(served: Served) -> None:
    assert served.get("/nowhere").json()["error"] == "There is nothing at this address."
    assert served.get(ASK).status_code == 405
    assert served.get("/page/../app.py").status_code == 404
    assert served.get("/page/%2e%2e/app.py").status_code == 404


def test_another_host_name_is_refused(served: Served) -> None:
    assert served.get("/v1/index", headers={"Host": "evil.example"}).status_code == 421
    assert served.get("/v1/index", headers={"Host": "LOCALHOST:99"}).status_code == 200


def test_security_headers_stand_on_everything(served: Served) -> None:
    for path in ("/", "/docs", "/v1/index", "/nowhere", "/openapi.json"):
        headers = served.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


def test_keys_open_what_they_may(guarded: Served) -> None:
    body = {"question": QUESTION}
    assert guarded.post(ASK, body).status_code == 401
    assert guarded.post(ASK, body).headers["www-authenticate"] == "Bearer"
    assert guarded.post(ASK, body, headers=bearer("wrong")).status_code == 401
    assert guarded.post(ASK, body, headers=bearer(digest("see"))).status_code == 401
    assert guarded.post(ASK, body, headers=bearer("see")).status_code == 200
    assert guarded.post(ASK, body, headers=bearer("say")).status_code == 200
    assert guarded.get("/metrics").status_code == 401
    assert guarded.get("/metrics", headers=bearer("see")).status_code == 200
    assert {guarded.get(path).status_code for path in ("/healthz", "/readyz", "/", "/docs")} == {200}


def test_writing_needs_the_right_to_write(guarded: Served) -> None:
    body = {"documents": []}
    statuses = [
        guarded.request("PUT", "/v1/documents", json=body, headers=bearer(key)).status_code
        for key in ("none", "see", "say")
    ]
    assert statuses == [401, 403, 422]
    assert guarded.request("DELETE", "/v1/documents/d0", headers=bearer("see")).status_code == 403


def test_a_large_body_is_refused_announced_or_not(guarded: Served) -> None:
    large = b'{"question": "' + b"w" * 6000 + b'"}'
    headers = {**bearer("see"), "Content-Type": "application/json"}
    announced = guarded.post(ASK, content=large, headers=headers)
    streamed = guarded.post(ASK, content=iter([large[:4000], large[4000:]]), headers=headers)
    for response in (announced, streamed):
        assert response.status_code == 413
        assert "larger than 5,000 bytes" in response.json()["error"]


def test_only_a_friends_page_may_call(guarded: Served) -> None:
    for origin, allowed in (("https://friend.example", "https://friend.example"), ("https://evil.example", None)):
        response = guarded.get("/healthz", headers={"Origin": origin})
        assert response.headers.get("access-control-allow-origin") == allowed


def test_keys_come_from_the_environment_and_wrong_ones_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODQA_API_KEYS", f"a:read:{digest('x')}, b:write:{digest('y')}")
    assert [key.name for key in Keys.load().known] == ["a", "b"]
    found = Keys.load().find("y")
    assert found is not None
    assert found.name == "b"
    monkeypatch.setenv("ODQA_API_KEYS", "a:read:x")
    with pytest.raises(ConfigError, match=r"\$ODQA_API_KEYS, entry 1: expected"):
        Keys.load()
    monkeypatch.delenv("ODQA_API_KEYS")
    with pytest.raises(ConfigError, match="Can't read the keys"):
        Keys.load(tmp_path / "none")
    (tmp_path / "empty").write_text("# nothing\n")
    with pytest.raises(ConfigError, match="holds no key"):
        Keys.load(tmp_path / "empty")


def test_loopback_is_recognised() -> None:
    assert [is_loopback(host) for host in ("localhost", "127.0.0.9", "::1", "0.0.0.0", "::", "box.lan")] == [  # noqa: S104
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_service_that_can_not_load_is_never_ready(caplog: pytest.LogCaptureFixture) -> None:
    failures: list[Exception] = []

    def load() -> Loaded:
        raise ModelError("No model in /secret/place.")

    with serving(create_app(load, on_failure=failures.append), ready=False) as one:
        for response in (one.get("/readyz"), one.post(ASK, {"question": QUESTION}), one.get("/v1/index")):
            assert response.status_code == 503
            assert response.headers["retry-after"] == "1"
            assert "/secret" not in response.text
        assert one.get("/healthz").json() == {"status": "alive"}
        assert one.get("/metrics").status_code == 200
    assert [str(error) for error in failures] == ["No model in /secret/place."]


def test_what_breaks_inside_stays_inside(loaded: Loaded, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        reader = loaded.pipeline.reader
        retriever = loaded.pipeline.retriever
        name = "broken"
        calls = 0

        def answer_batch(self, questions: list[str], **options: Any) -> Any:
            self.calls += 1
            if self.calls > 1:
                raise RuntimeError("secret inside")
            return loaded.pipeline.answer_batch(questions, **options)

    broken: Any = Broken()
    with serving(create_app(lambda: replace(loaded, pipeline=broken))) as one:
        response = one.post(ASK, {"question": QUESTION})
        assert response.status_code == 500
        assert "secret" not in response.text
        assert response.json()["request_id"] == response.headers["x-request-id"]
        assert "default-src" in response.headers["content-security-policy"]
    assert "secret inside" in caplog.text


@pytest.mark.parametrize("key", [None, "nobody's"])
def test_the_key_is_asked_for_before_the_body_is_read(guarded: Served, key: str | None) -> None:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    for method, path in (("PUT", "/v1/documents"), ("POST", "/v1/ask")):
        answer = guarded.request(method, path, content=b"{nope", headers=headers)
        assert (answer.status_code, answer.json()["error"][:10]) == (401, "An API key")


def test_what_metadata_may_hold_is_told(served: Served) -> None:
    body = {"documents": [{"id": "a", "text": "x", "metadata": {"tags": ["a"]}}]}
    answer = served.request("PUT", "/v1/documents", json=body)
    assert answer.json()["error"] == "documents.0.metadata.tags: must be a text, a number, true, false or null."
