"""A program for another interpreter, which knows nothing of odqa: it runs the peers that are installed there.

    python peer_program.py list TASK     prints the peers for "read" or "embed" that are there, as JSON
    python peer_program.py run PEER      reads settings, then work, from stdin, a JSON line each; answers on stdout

It needs Python 3.9 or newer, and the peer. Only the peer's own work is timed, neither its loading nor the JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module, metadata, util
from pathlib import Path
from typing import Any


class Transformers:
    """transformers' `pipeline("question-answering")`, one pair after the other. Version 5 removed it."""

    batch = False

    def __init__(self, given: dict[str, Any]) -> None:
        pipeline = import_module("transformers").pipeline
        self._ask = pipeline(
            "question-answering", model=given["model"], device=given["device"], model_kwargs=_precision(given)
        )
        self._lengths = {
            "max_seq_len": given["max_length"],
            "doc_stride": given["doc_stride"],
            "max_answer_len": given["max_answer_length"],
        }

    def run(self, work: list[Any]) -> list[Any]:
        """The best answer of each task, by its score over all passages."""
        return [self._best(question, passages) for question, passages in work]

    def _best(self, question: str, passages: list[str]) -> str:
        batch = {"batch_size": len(passages)} if self.batch else {}
        found = self._ask(question=[question] * len(passages), context=passages, **self._lengths, **batch)
        answers = found if isinstance(found, list) else [found]
        return str(max(answers, key=lambda one: one["score"])["answer"])


class TransformersBatched(Transformers):
    """The same, all passages of a question in one batch."""

    batch = True


class Haystack:
    """Haystack's extractive reader, which moved from haystack-ai to transformers-haystack.

    It passes no segment ids, so that readers which know them, such as BERT's, answer otherwise than elsewhere.
    """

    def __init__(self, given: dict[str, Any]) -> None:
        haystack = import_module("haystack")
        device = import_module("haystack.utils").ComponentDevice.from_str(given["device"])
        self._document = haystack.Document
        self._reader = _haystack_reader()(
            model=given["model"],
            device=device,
            max_seq_length=given["max_length"],
            stride=given["doc_stride"],
            top_k=1,
            no_answer=False,
            model_kwargs=_precision(given),
        )
        self._reader.warm_up()

    def run(self, work: list[Any]) -> list[Any]:
        """The best answer of each task, by its score over all passages."""
        return [self._best(question, passages) for question, passages in work]

    def _best(self, question: str, passages: list[str]) -> str | None:
        documents = [self._document(content=text) for text in passages]
        answers = self._reader.run(query=question, documents=documents)["answers"]
        return answers[0].data if answers else None


class Txtai:
    """txtai's `Questions`. It gives no scores: of several passages there is an answer each, and no best one.

    It raises where the model's best span is "no answer", which counts as none here.
    """

    def __init__(self, given: dict[str, Any]) -> None:
        questions = import_module("txtai.pipeline").Questions
        self._ask = questions(given["model"], gpu=given["device"] != "cpu", **_precision(given))

    def run(self, work: list[Any]) -> list[Any]:
        """The answer of each task of one passage; a list of answers where there are several."""
        found = [[self._answer(question, text) for text in passages] for question, passages in work]
        return [answers[0] if len(answers) == 1 else answers for answers in found]

    def _answer(self, question: str, text: str) -> str | None:
        try:
            return self._ask([question], [text])[0]  # type: ignore[no-any-return]
        except TypeError:
            return None


class SentenceTransformers:
    """sentence-transformers' `encode` as it is."""

    def __init__(self, given: dict[str, Any]) -> None:
        model = import_module("sentence_transformers").SentenceTransformer
        self._model = model(given["model"], device=given["device"])

    def run(self, work: list[Any]) -> list[Any]:
        """A vector for each text."""
        return list(self._model.encode(work, show_progress_bar=False).tolist())


READERS = {
    "transformers": Transformers,
    "transformers, batched": TransformersBatched,
    "haystack": Haystack,
    "txtai": Txtai,
}
EMBEDDERS = {"sentence-transformers": SentenceTransformers}
PEERS: dict[str, Any] = {**READERS, **EMBEDDERS}
_PACKAGES = ("transformers-haystack", "haystack-ai", "txtai", "sentence-transformers", "transformers", "torch")
_HAYSTACK = (
    ("haystack_integrations.components.readers.transformers", "TransformersExtractiveReader"),
    ("haystack.components.readers", "ExtractiveReader"),
)


def listed(task: str) -> dict[str, Any]:
    """The peers for a task that are installed, and the versions of all that belongs to them."""
    known = READERS if task == "read" else EMBEDDERS
    versions = {name: _version(name) for name in _PACKAGES if _version(name)}
    return {"peers": [name for name in known if _is_there(name)], "versions": versions}


def _precision(given: dict[str, Any]) -> dict[str, str]:
    """The arithmetic that was asked for: else version 5 computes in what the weights are stored in."""
    return {"torch_dtype" if _major("transformers") < 5 else "dtype": given["precision"]}


def _is_there(name: str) -> bool:
    if name.startswith("transformers"):
        return 0 < _major("transformers") < 5
    if name == "haystack":
        return bool(_version("haystack-ai")) and any(_has(module) for module, _ in _HAYSTACK)
    return bool(_version(name))


def _haystack_reader() -> Any:
    module, name = next((module, name) for module, name in _HAYSTACK if _has(module))
    return getattr(import_module(module), name)


def _has(module: str) -> bool:
    try:
        return util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _major(package: str) -> int:
    return int(_version(package).partition(".")[0] or 0)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def serve(name: str, out: Any) -> None:
    """Load a peer, then do what is asked line by line."""
    try:
        peer = PEERS[name](json.loads(sys.stdin.readline()))
        _write(out, {"threads": import_module("torch").get_num_threads()})
        for line in sys.stdin:
            work = json.loads(line)
            begin = time.perf_counter()
            found = peer.run(work)
            _write(out, {"seconds": time.perf_counter() - begin, "found": found})
    except Exception as error:  # whatever a peer raises is told to the one who asked
        _write(out, {"error": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"})


def _write(out: Any, record: dict[str, Any]) -> None:
    out.write(json.dumps(record) + "\n")
    out.flush()


def main() -> None:
    """Keep stdout for the answers: what a peer prints goes to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    if sys.path[0] == str(Path(__file__).parent):
        del sys.path[0]  # or a module here could stand before one of the peer's
    if sys.argv[1] == "list":
        _write(out, listed(sys.argv[2]))
    else:
        serve(sys.argv[2], out)


if __name__ == "__main__":
    main()
