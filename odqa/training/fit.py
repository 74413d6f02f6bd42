"""From questions with all that was read for them to a calibration: threshold, bound, probabilities, promises."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa.errors import ConfigError, DataError
from odqa.evaluation.curves import reliability, risk_coverage
from odqa.evaluation.dataset import Question
from odqa.evaluation.outcomes import Outcome, score_texts
from odqa.pipeline import passages_needed
from odqa.reader.calibration import Calibration, Features, Logistic, Risk
from odqa.reader.ranking import Choice, best, rank
from odqa.text import normalize_answer
from odqa.training.scoring import best_threshold
from odqa.types import Hit, Reading, Span

CHANGED = 0.01
"""Share of the questions whose answer may change because passages are left unread."""
SPARED = 0.01
"""F1 that may be given up to answer more: a wrong answer stands beside its passage, a withheld one is not seen."""
RISKS = (0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0.02, 0.01)
COVERAGES = np.arange(0.1, 1.001, 0.025)
_BOUNDS = np.arange(0.0, 30.0, 0.5)
_FEATURES = ("score", "relevance", "lead", "support")


@dataclass(frozen=True, slots=True)
class Read:
    """A question with all that was found for it."""

    question: Question
    hits: Sequence[Hit]
    readings: Sequence[Reading]


@dataclass(frozen=True, slots=True)
class Scored:
    """Best answers in numbers; the arrays are (questions,), those of `features` (questions, 4).

    Attributes:
        features: Of each best answer, in the order of `Logistic`'s fields.
        right: 1 where it is exactly right, else 0.
        f1: Token F1 with the gold answers, in 0..1; 0 where there is none.
        unanswerable: 1 where the question has no answer.
        articles: The article of each question.
    """

    features: NDArray[np.float64]
    right: NDArray[np.float64]
    f1: NDArray[np.float64]
    unanswerable: NDArray[np.float64]
    articles: Sequence[str]

    @property
    def best(self) -> list[Features]:
        """The features as records."""
        return [Features(*row) for row in self.features.tolist()]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A calibration with what it looks like on the questions that it was fitted on, so a little too good.

    Attributes:
        calibration: To be written with `write`.
        questions: Number of questions fitted on, and of those that certified.
        passages_read: Mean number of passages read for a question, of those that were found.
        error: Expected calibration error against token F1, in 0..1.
        area: Area under risk-coverage by probability, and by raw margin.
    """

    calibration: Calibration
    questions: tuple[int, int]
    passages_read: float
    error: float
    area: tuple[float, float]

    def write(self, path: Path) -> None:
        """Write the calibration as JSON.

        Raises:
            ConfigError: the file can't be written.
        """
        with _refusals(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.calibration.model_dump_json(indent=2) + "\n", encoding="utf-8")


def check_writable(path: Path) -> None:
    """Raise a ConfigError where no calibration could be written to `path`, before hours are spent on one."""
    with _refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path.parent):
            pass


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"Can't write the calibration {path}: {error.strerror}.") from None


def fit(
    settings: Mapping[str, Any], fitting: Sequence[Read], certifying: Sequence[Read], *, confidence: float
) -> Calibrated:
    """Fit the bound of reading, the probabilities and the threshold, and certify risks, in this order.

    All of it holds for a retriever with these `settings`. The bound is chosen under the probabilities and the threshold
    of full reading, all else under the bound.
    """
    bound = margin_bound(fitting, decision(scored(fitting)))
    cut = [_cut(one, bound) for one in fitting]
    known = scored(cut)
    fitted = decision(known)
    chances = probabilities(fitted.right, known)
    proof = scored([_cut(one, bound) for one in certifying])
    levels = np.quantile(chances, np.clip(1 - COVERAGES, 0, 1))
    calibration = fitted.model_copy(
        update={
            "margin_bound": bound,
            "risks": certify(probabilities(fitted.right, proof), proof, levels, confidence=confidence),
            "confidence": confidence,
            "retriever": settings,
        }
    )
    margins = known.features[:, 0] - known.features[:, 1]
    return Calibrated(
        calibration,
        (len(fitting), len(certifying)),
        float(np.mean([len(one.readings) for one in cut])),
        reliability(chances.tolist(), known.f1.tolist()).expected_calibration_error,
        (_area(chances, known), _area(margins, known)),
    )


def _area(ranking: NDArray[np.float64], known: Scored) -> float:
    return risk_coverage(ranking.tolist(), known.right.tolist()).area


def of_margins(outcomes: Sequence[Outcome], threshold: float) -> Calibration | None:
    """The calibration of a reader alone, from each question's own passage; None where all come out alike."""
    found = [one for one in outcomes if one.prediction]
    features = np.array([[one.margin, *[0.0] * (len(_FEATURES) - 1)] for one in found]).reshape(-1, len(_FEATURES))
    right = _token_f1(found)
    unanswerable = np.array([float(one.question.is_impossible) for one in found])
    if _alike(right) or _alike(unanswerable):
        return None
    return Calibration(
        null_threshold=threshold,
        right=logistic_regression(features, right),
        no_answer=logistic_regression(features, unanswerable),
    )


def decision(known: Scored) -> Calibration:
    """The probabilities, and the lowest threshold over "no answer" by them that costs at most SPARED of the best F1."""
    right = logistic_regression(known.features, known.f1)
    no_answer = logistic_regression(known.features, known.unanswerable)
    over = [right.log_odds(one) - no_answer.log_odds(one) for one in known.best]
    gains = np.where(known.unanswerable == 1, -1.0, known.f1)
    threshold = best_threshold(np.array(over), gains, spare=SPARED * len(gains))
    return Calibration(null_threshold=threshold, threshold_of="probabilities", right=right, no_answer=no_answer)


def margin_bound(read: Sequence[Read], fitted: Calibration) -> float:
    """The least bound on margins under which at most a share of CHANGED answers differ from those of full reading."""
    full = [_given(one, fitted) for one in read]
    for bound in _BOUNDS:
        cut = (_given(_cut(one, float(bound)), fitted) for one in read)
        if np.mean([one != other for one, other in zip(full, cut, strict=True)]) <= CHANGED:
            return float(bound)
    return float(_BOUNDS[-1])


def logistic_regression(features: NDArray[np.float64], shares: NDArray[np.float64]) -> Logistic:
    """Fit by maximum likelihood; a question counts as a hit with its share, in 0..1, and as a miss with the rest.

    Raises:
        DataError: all of the questions are hits, or all are misses.
    """
    from sklearn.linear_model import LogisticRegression

    if _alike(shares):
        raise DataError(
            f"Can't fit probabilities: of {len(shares)} questions, {int(shares.sum())} come out one way and the rest "
            "the other. Give questions with and without answers, some of which are answered rightly."
        )
    outcomes = np.repeat([1, 0], len(shares))
    weights = np.concatenate([shares, 1 - shares])
    model = LogisticRegression(C=1e4, max_iter=2_000).fit(np.tile(features, (2, 1)), outcomes, sample_weight=weights)
    found = dict(zip(_FEATURES, model.coef_[0].tolist(), strict=True))
    return Logistic(intercept=float(model.intercept_[0]), **found)


def _alike(shares: NDArray[np.float64]) -> bool:
    return not 0 < shares.sum() < len(shares)


def probabilities(fitted: Logistic, known: Scored) -> NDArray[np.float64]:
    """The probability of each best answer, (questions,)."""
    return np.array([fitted.probability(one) for one in known.best])


def certify(
    chances: NDArray[np.float64], known: Scored, levels: NDArray[np.float64], *, confidence: float
) -> tuple[Risk, ...]:
    """The promises that hold on these questions, with articles as the units.

    For a risk `r`, probabilities are tested from the highest level down: at each, a one-sided t-test over articles of
    whether the mean of (wrong answers - r x answers) is under 0, and an exact binomial test of whether so few answers
    would be wrong at that risk; the last level before the first that fails either is kept. Testing in a fixed order
    keeps the confidence for all levels together. The t-test allows for answers of an article that are wrong together,
    but takes the articles' means as roughly normal; the binomial test holds where there are too few for that.

    Source: Angelopoulos et al. 2021, "Learn then Test: Calibrating Predictive Algorithms to Achieve Risk Control".
    """
    kept = ((risk, _lowest(chances, known, levels, risk, confidence)) for risk in RISKS)
    return tuple(Risk(risk=risk, probability=level) for risk, level in kept if level is not None)


def _lowest(
    chances: NDArray[np.float64], known: Scored, levels: NDArray[np.float64], risk: float, confidence: float
) -> float | None:
    from scipy.stats import binom

    kept = None
    for level in levels:
        answered = chances >= level
        wrong = answered * (1 - known.right)
        below = _is_below(wrong - answered * risk, known.articles, confidence)
        if not below or binom.cdf(wrong.sum(), answered.sum(), risk) > 1 - confidence:
            break
        kept = float(level)
    return kept


def _is_below(excess: NDArray[np.float64], articles: Sequence[str], confidence: float) -> bool:
    """Whether the mean of the articles' sums is under 0, by a one-sided t-test."""
    from scipy.stats import t

    sums: defaultdict[str, float] = defaultdict(float)
    for article, value in zip(articles, excess.tolist(), strict=True):
        sums[article] += value
    values = np.array(list(sums.values()))
    spread = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.inf
    return bool(spread > 0 and values.mean() + t.ppf(confidence, len(values) - 1) * spread < 0)


def scored(read: Sequence[Read]) -> Scored:
    """The best answers in numbers; a question for which no passage holds a token is left out."""
    found = [(one.question, answer) for one in read if (answer := best(one.hits[: len(one.readings)], one.readings))]
    questions = [question for question, _ in found]
    texts = [evidence.text for _, (evidence, _) in found]
    outcomes = score_texts(questions, texts, [Span(0, 0, about.score) for _, (_, about) in found])
    return Scored(
        np.array([[getattr(about, name) for name in _FEATURES] for _, (_, about) in found]),
        np.array([float(one.exact == 1 and not one.question.is_impossible) for one in outcomes]),
        _token_f1(outcomes),
        np.array([float(question.is_impossible) for question in questions]),
        [question.article for question in questions],
    )


def _token_f1(outcomes: Sequence[Outcome]) -> NDArray[np.float64]:
    """Of each answer, (questions,); 0 where there is none to find, also for one that is nothing but an article."""
    return np.array([0.0 if one.question.is_impossible else one.f1 for one in outcomes])


def _given(read: Read, fitted: Calibration) -> str | None:
    hits = read.hits[: len(read.readings)]
    answers = rank(hits, read.readings, fitted.null_threshold, Choice(1), fitted).answers
    return normalize_answer(answers[0].text) if answers else None


def _cut(read: Read, bound: float) -> Read:
    """What the pipeline would have read under a bound."""
    return replace(read, readings=read.readings[: passages_needed(read.hits, read.readings, bound)])
