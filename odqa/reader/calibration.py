"""From scores to probabilities, and what a promised risk asks of them: fitted by `odqa calibrate`, read from JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from odqa.errors import ModelError

FILE = "calibration.json"
FARTHEST = 10.0
"""How far away the next different answer counts at most, and where there is none."""


@dataclass(frozen=True, slots=True)
class Features:
    """What the probability of an answer hangs on.

    Attributes:
        score: The answer's score, in log-odds.
        relevance: That of its passage, the retriever's part of the score.
        lead: Its score less the best score of a different answer, in -10..10; negative where that one is better.
        support: What all of its evidence adds to the best of it: `log(sum(exp(score))) - score`, at least 0.
    """

    score: float
    relevance: float = 0.0
    lead: float = FARTHEST
    support: float = 0.0


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Logistic(_Table):
    """Log-odds as a weighted sum of an answer's features."""

    intercept: float = 0.0
    score: float = 0.0
    relevance: float = 0.0
    lead: float = 0.0
    support: float = 0.0

    def log_odds(self, features: Features) -> float:
        """The weighted sum."""
        return (
            self.intercept
            + self.score * features.score
            + self.relevance * features.relevance
            + self.lead * features.lead
            + self.support * features.support
        )

    def probability(self, features: Features) -> float:
        """The probability in 0..1."""
        return logistic(self.log_odds(features))


class Risk(_Table):
    """Answers of at least this `probability` are wrong at most as often as `risk`, with the file's confidence."""

    risk: Annotated[float, Field(ge=0, le=1)]
    probability: Annotated[float, Field(ge=0, le=1)]


class Calibration(_Table):
    """What was fitted on held-out questions through a whole pipeline.

    Attributes:
        null_threshold: How far an answer must stand over "no answer", in log-odds.
        threshold_of: What that is measured by: the reader's margin, or the answer's log-odds of being right less those
            of there being no answer.
        right: The probability that an answer is right, fitted to the token F1 of the best answer of each question: with
            one gold answer a question, that is about how often another person would have given this very answer.
        no_answer: The probability that there is no answer, from the features of the best one.
        margin_bound: A passage is not read any more where this margin would not make its answer the best; None reads
            all. See `odqa.pipeline`.
        risks: The promises that can be kept, by falling risk; None where nobody tried, and an answer's own
            probability decides.
        confidence: Of each of these promises.
        retriever: The settings of the retriever that all of this holds for, as `Retriever.settings` has them.
        fitted_on: The index, the data and the numbers of questions, for the record.
    """

    null_threshold: float
    threshold_of: Literal["margin", "probabilities"] = "margin"
    right: Logistic
    no_answer: Logistic
    margin_bound: float | None = None
    risks: tuple[Risk, ...] | None = None
    confidence: float = 0.9
    retriever: Mapping[str, Any] = Field(default_factory=dict)
    fitted_on: Mapping[str, Any] = Field(default_factory=dict)

    def with_margin(self, null_threshold: float) -> Calibration:
        """The same probabilities under a threshold for the margin."""
        return self.model_copy(update={"null_threshold": null_threshold, "threshold_of": "margin"})

    def least_probability(self, max_risk: float) -> float:
        """What an answer must reach under a promised risk: inf where the promise could not be certified."""
        if self.risks is None:
            return 1 - max_risk
        return next((kept.probability for kept in self.risks if kept.risk <= max_risk), math.inf)


def read(path: Path) -> Calibration:
    """Read a calibration.

    Raises:
        ModelError: the file can't be read or holds something else.
    """
    try:
        return Calibration.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"Can't read the calibration {path}: {error.strerror}. Make one: odqa calibrate.") from None
    except (ValidationError, UnicodeDecodeError) as error:
        problem = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        place = ".".join(map(str, problem["loc"]))
        raise ModelError(f"{path} is no calibration ({place}: {problem['msg']}). Make one: odqa calibrate.") from None


def of_reader(folder: Path) -> Calibration | None:
    """The calibration of a reader alone, one passage at a time, from its `reader.json`; None where it has none.

    Raises:
        ModelError: what the file holds is no calibration.
    """
    path = folder / "reader.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("calibration") if path.is_file() else None
        return None if found is None else Calibration.model_validate(found)
    except (ValueError, AttributeError) as error:
        raise ModelError(
            f'{path}: "calibration" is none ({str(error).splitlines()[0]}). Train the reader anew.'
        ) from None


def difference(found: Calibration, settings: Mapping[str, Any]) -> str:
    """The first of a retriever's settings that a calibration was not fitted with, in words; empty where all agree."""
    for name, value in settings.items():
        if found.retriever.get(name) != value:
            return f"{name} was {found.retriever.get(name)!r}, now {value!r}"
    return ""


def log_odds(probability: float) -> float:
    """log(p / (1 - p)); a probability is taken as at least 1e-12 away from 0 and 1."""
    kept = min(max(probability, 1e-12), 1 - 1e-12)
    return math.log(kept / (1 - kept))


def logistic(value: float) -> float:
    """1 / (1 + exp(-value)), for any value."""
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
