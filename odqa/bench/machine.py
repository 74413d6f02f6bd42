"""What a measurement was taken on: without it no figure means anything."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from odqa import __version__
from odqa.runtime import OPENVINO, default_device

_PACKAGES = ("numpy", "tokenizers", "openvino", "torch", "transformers", "sentence-transformers", "bm25s")
_FAISS = ("faiss-cpu", "faiss-gpu-cu12")
_CPU_INFO = Path("/proc/cpuinfo")
_MATTERS = ("avx2", "fma", "avx512", "avx_vnni", "amx", "asimddp", "i8mm", "bf16", "sve")
"""Instruction sets that begin so move the figures of matrix work; on x86 and on ARM."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Hardware, engine and versions.

    Attributes:
        processor: The CPU's model.
        cores: Real cores.
        processors: Logical processors that this process may use.
        instruction_sets: Those that matter for matrix work.
        memory: In GB.
        gpus: Their names and memory; empty where odqa runs on the CPU.
        engine: What odqa's models run on.
        system: Operating system and architecture.
        threads: `OMP_NUM_THREADS`, where it limits torch and FAISS.
        versions: Of odqa, Python and the packages that can move a figure.
    """

    processor: str
    cores: int
    processors: int
    instruction_sets: tuple[str, ...]
    memory: float
    gpus: tuple[str, ...]
    engine: str
    system: str
    threads: str
    versions: Mapping[str, str]

    def lines(self) -> list[str]:
        """Three lines for people."""
        sets = " ".join(self.instruction_sets) or "no vector instructions known"
        limit = f", OMP_NUM_THREADS={self.threads}" if self.threads else ""
        return [
            f"{self.processor}, {self.cores} cores, {self.processors} processors{limit}, {self.memory:.0f} GB, {sets}",
            f"{', '.join(self.gpus) or 'no GPU'}; engine {self.engine}; {self.system}",
            ", ".join(f"{name} {number}" for name, number in self.versions.items()),
        ]


def machine(device: str | None = None) -> Machine:
    """This machine, with models on `device` (see `odqa.runtime`)."""
    chosen = default_device() if device is None else device
    blocks = _cpu_info()
    facts = blocks[0]
    return Machine(
        processor=facts.get("model name") or facts.get("Model") or platform.processor() or platform.machine(),
        cores=_cores(blocks),
        processors=_processors(),
        instruction_sets=instruction_sets(facts.get("flags") or facts.get("Features") or ""),
        memory=_memory(),
        gpus=_gpus(chosen),
        engine=_engine(chosen),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        threads=os.environ.get("OMP_NUM_THREADS", ""),
        versions={"odqa": __version__, "python": platform.python_version(), **_versions()},
    )


def instruction_sets(flags: str) -> tuple[str, ...]:
    """Of the CPU's flags those that matter, sorted."""
    return tuple(sorted(flag for flag in set(flags.split()) if flag.startswith(_MATTERS)))


def _cpu_info() -> list[dict[str, str]]:
    """What Linux says of each logical processor; nothing elsewhere."""
    text = _CPU_INFO.read_text("utf-8", errors="replace") if _CPU_INFO.is_file() else ""
    blocks = [[line.partition(":") for line in block.splitlines()] for block in text.strip().split("\n\n")]
    return [{name.strip(): value.strip() for name, _, value in block} for block in blocks]


def _cores(blocks: list[dict[str, str]]) -> int:
    known = {(block.get("physical id"), block["core id"]) for block in blocks if "core id" in block}
    return len(known) or os.cpu_count() or 1


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _memory() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, OSError, ValueError):
        return float("nan")


def _gpus(device: str) -> tuple[str, ...]:
    if not device.startswith("cuda"):
        return ()
    import torch

    found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return tuple(f"{one.name} ({one.total_memory / 1e9:.0f} GB)" for one in found)


def _engine(device: str) -> str:
    names = {OPENVINO: "OpenVINO, float32", "cpu": "torch on the CPU, float32"}
    return names.get(device, f"torch on {device}, half precision")


def _versions() -> dict[str, str]:
    found = {}
    for name in (*_PACKAGES, *_FAISS):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
