"""Measuring: in rounds, by turns, so that what else the machine does weighs on all alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Generic, Protocol, TypeVar

from odqa import progress

W = TypeVar("W")
F = TypeVar("F")
W_contra = TypeVar("W_contra", contravariant=True)
F_co = TypeVar("F_co", covariant=True)

_WARM = 8
"""Units of work done before the first round."""


@dataclass(frozen=True, slots=True)
class Run(Generic[F_co]):
    """One round: the seconds it took and what was found."""

    seconds: float
    found: F_co


class Contestant(Protocol[W_contra, F_co]):
    """Something that does the work and says how long that took."""

    @property
    def name(self) -> str:
        """What its row is called."""

    def run(self, work: Sequence[W_contra]) -> Run[F_co]:
        """Do all of `work`."""


@dataclass(frozen=True, slots=True)
class Local(Generic[W, F]):
    """A function of this process."""

    name: str
    function: Callable[[Sequence[W]], F]

    def run(self, work: Sequence[W]) -> Run[F]:
        """See `Contestant`."""
        begin = perf_counter()
        found = self.function(work)
        return Run(perf_counter() - begin, found)


@dataclass(frozen=True, slots=True)
class Measured(Generic[F_co]):
    """A contestant's rounds: its name, the median of their seconds, and what the last one found."""

    name: str
    seconds: float
    found: F_co


def compete(contestants: Sequence[Contestant[W, F]], work: Sequence[W], *, rounds: int) -> list[Measured[F]]:
    """Let each warm up on a little of the work, then all take turns at all of it, `rounds` times."""
    runs: list[list[Run[F]]] = [[] for _ in contestants]
    turns = rounds * len(contestants)
    with progress.bar("Measuring", total=turns, unit="runs") as tick, progress.bars(enabled=False):
        for contestant in contestants:
            contestant.run(work[:_WARM])
        for _ in range(rounds):
            for contestant, mine in zip(contestants, runs, strict=True):
                mine.append(contestant.run(work))
                tick.advance()
    return [
        Measured(contestant.name, median(run.seconds for run in mine), mine[-1].found)
        for contestant, mine in zip(contestants, runs, strict=True)
    ]


def times(
    function: Callable[[W], F], work: Sequence[W], description: str, *, warm: int = _WARM
) -> list[tuple[float, F]]:
    """Seconds and outcome of each unit of work alone, after the first `warm` of them were done once."""
    for one in work[:warm]:
        function(one)
    found = []
    for one in progress.track(work, description, total=len(work)):
        begin = perf_counter()
        outcome = function(one)
        found.append((perf_counter() - begin, outcome))
    return found
