"""The CPU engine: a graph exported once and run by OpenVINO in float32, importing neither torch nor transformers."""

from __future__ import annotations

import os
import shutil
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa import config, models
from odqa.errors import ModelError
from odqa.runtime.batching import CPU_TOKENS, TokenBatch
from odqa.runtime.kinds import Kind

_GRAPH = "graph.xml"


class OpenVinoEngine:
    """An exported graph. A row's outputs don't move with its neighbours beyond the rounding of float32."""

    max_tokens = CPU_TOKENS

    def __init__(self, folder: Path, kind: Kind) -> None:
        """Take the model's graph from the cache, or export it there.

        Raises:
            ModelError: the model can't be loaded, or its graph doesn't do what the model does.
        """
        import openvino

        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        self._compiled: Any = openvino.Core().compile_model(str(graph(folder, kind) / _GRAPH), "CPU", settings)
        self._local = threading.local()

    def run(self, batch: TokenBatch) -> tuple[NDArray[np.float32], ...]:
        """See `Engine`."""
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        arrays = [batch.ids, batch.mask, batch.segments][: len(self._compiled.inputs)]
        found = self._local.request.infer(arrays)
        return tuple(np.array(found[number]) for number in range(len(self._compiled.outputs)))


def graph(folder: Path, kind: Kind) -> Path:
    """The folder of a model's exported graph, made on the first call.

    Raises:
        ModelError: see `OpenVinoEngine`.
    """
    name = f"{kind}-{models.fingerprint(folder)[:24]}-openvino-{version('openvino')}"
    target = config.cache_folder() / "graphs" / name
    if not target.is_dir():
        from odqa.runtime.export import export

        draft = target.with_name(f".{name}.{os.getpid()}")
        try:
            draft.mkdir(parents=True)
            export(folder, kind, draft / _GRAPH)
            draft.rename(target)
        except OSError as error:
            if not target.is_dir():  # else another process was faster
                raise ModelError(f"Can't keep the exported graph in {target.parent}: {error.strerror}.") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return target
