import pytest

from odqa.corpus import read_documents
from odqa.errors import CorpusError
from odqa.types import Document

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def quiet_and_offline(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def data_set(*contexts):
    return datasets.Dataset.from_dict(
        {"id": list(range(len(contexts))), "context": list(contexts), "nested": [[1] for _ in contexts]}
    )


def test_a_saved_data_set_is_recognised(tmp_path):
    data_set("a\r\n", None).save_to_disk(tmp_path / "saved")
    assert list(read_documents(tmp_path / "saved")) == [Document("0", "a\r\n"), Document("1", "")]


def test_a_split_of_a_saved_data_set(tmp_path):
    path = tmp_path / "saved"
    datasets.DatasetDict({"validation": data_set("v"), "test": data_set("t")}).save_to_disk(path)
    assert [document.text for document in read_documents(f"{path}@test", format="datasets")] == ["t"]
    with pytest.raises(CorpusError, match=r'no split "train"; say .*saved@SPLIT with one of: validation, test'):
        list(read_documents(path))


def test_a_folder_of_data_files(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text('{"body": "a", "year": 1}\n{"body": "b", "year": 2}\n')
    documents = list(read_documents(tmp_path / "data", format="datasets"))
    assert documents == [Document("data#0", "a", "", {"year": 1}), Document("data#1", "b", "", {"year": 2})]
    with pytest.raises(CorpusError, match='row 0: no column "x" for the text; columns here: body, year'):
        list(read_documents(tmp_path / "data", format="datasets", columns={"text": "x"}))


def test_errors_of_the_library_are_one_line(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(CorpusError, match=r'the data set ".*data@nosplit": .*nosplit'):
        list(read_documents(f"{tmp_path / 'data'}@nosplit", format="datasets"))


def test_the_name_is_taken_apart(monkeypatch):
    calls = []

    def load_dataset(name, config, **options):
        calls.append((name, config, options))
        return datasets.Dataset.from_dict({"text": ["a"]})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    for source in ("owner/name", "owner/name:en", "owner/name@test", "name:en@validation[:10]"):
        assert len(list(read_documents(source, format="datasets"))) == 1
    assert calls == [
        ("owner/name", None, {"split": "train", "streaming": True}),
        ("owner/name", "en", {"split": "train", "streaming": True}),
        ("owner/name", None, {"split": "test", "streaming": True}),
        ("name", "en", {"split": "validation[:10]", "streaming": True}),
    ]


def test_a_name_that_the_hub_does_not_have():
    with pytest.raises(CorpusError, match=r'Can\'t read the data set "nobody/nothing": '):
        list(read_documents("nobody/nothing", format="datasets"))
