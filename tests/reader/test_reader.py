"""The reader on a tiny model: quotes, batches, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odqa.errors import ModelError, QuestionError
from odqa.reader import Reader
from odqa.recipes import ReaderRecipe
from tests.tiny import TEXTS

UNICODE = st.text(
    alphabet=st.sampled_from("ab France é\u0301👨\u200d👩👋🏽\r\n\tשלוםמ\u05b8\u200b\u00a0۱.,"), max_size=200
)


@settings(deadline=None, max_examples=40)
@given(context=UNICODE)
def test_an_answer_quotes_its_context(reader: Reader, context: str) -> None:
    result = reader.answer("where is it?", context, abstain="never", n_best=20)
    for answer in result.answers:
        assert context[answer.start : answer.end] == answer.text
        assert answer.text == answer.text.strip() != ""


def test_a_batch_reads_as_one_by_one(reader: Reader) -> None:
    pairs = [(question, text) for text in TEXTS for question in ("who came from the north?", "what is it?")]
    pairs += [("who?", " ".join(TEXTS))]
    together = reader.read(pairs)
    for pair, reading in zip(pairs, together, strict=True):
        (alone,) = reader.read([pair])
        assert [(span.start, span.end) for span in reading.spans] == [(span.start, span.end) for span in alone.spans]
        assert [span.margin for span in reading.spans] == pytest.approx([span.margin for span in alone.spans], abs=1e-4)


def test_a_long_context_is_read_to_its_end(reader: Reader) -> None:
    context = " ".join(TEXTS)
    windows = reader._windower.windows([("who?", context)])
    assert len(windows) > 3
    spans = reader.read([("who?", context)])[0].spans
    best = max(span.margin for text in [context] for span in spans)
    assert best == spans[0].margin


def test_a_context_without_text_has_no_answer(reader: Reader) -> None:
    result = reader.answer("who?", " \n ", abstain="never")
    assert result.no_answer
    assert result.no_answer_probability == 1.0


def test_an_empty_question_is_refused(reader: Reader) -> None:
    with pytest.raises(QuestionError, match="empty"):
        reader.answer("", "Rollo was a Viking.")


def test_a_result_is_ready_for_json(reader: Reader) -> None:
    body = json.loads(json.dumps(reader.answer("who?", TEXTS[6], abstain="never").to_dict()))
    assert {"question", "answers", "no_answer", "no_answer_probability", "timings", "index", "pipeline"} <= body.keys()
    keys = {"text", "score", "probability", "document_id", "title", "start", "end", "passage"}
    assert keys <= body["answers"][0].keys()


def test_a_model_without_a_head_is_refused(reader_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(reader_folder, tmp_path / "bare")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    with pytest.raises(ModelError, match="no question answering head"):
        Reader(folder, device="cpu")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no model|no tokenizer"):
        Reader(tmp_path, device="cpu")


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(ModelError, match='No model "nobody". Known: all-MiniLM-L6-v2'):
        Reader(ReaderRecipe(model="nobody"))
