"""Answers ranked, thresholded, merged: worked examples."""

from __future__ import annotations

import pytest

from odqa.errors import ConfigError
from odqa.reader.ranking import Choice, probability, rank
from odqa.types import Abstain, Hit, Passage, Reading, Section, Span

THRESHOLD = 1.0
FIRST = Passage("d1", "Paris is in France.", start=100, title="Paris", sections=(Section(0, page=3, heading="Top"),))
SECOND = Passage("d2", "The France of old.")
HITS = [Hit(FIRST, 0.5, relevance=1.0), Hit(SECOND, 0.4, relevance=-2.0)]
READINGS = [Reading((Span(12, 18, 2.0), Span(0, 5, -0.5))), Reading((Span(0, 10, 4.0),))]


def choose(abstain: str = "threshold", max_risk: float | None = None, n_best: int = 5) -> Choice:
    return Choice.of(n_best, abstain, max_risk)


def test_equal_answers_are_merged_under_the_best_evidence() -> None:
    ranked = rank(HITS, READINGS, THRESHOLD, choose())
    (answer,) = ranked.answers
    assert (answer.text, answer.score, answer.margin, answer.document_id) == ("France", 3.0, 2.0, "d1")
    assert (answer.start, answer.end, answer.page, answer.heading) == (112, 118, 3, "Top")
    assert [(item.text, item.score) for item in answer.evidence] == [("France", 3.0), ("The France", 2.0)]
    assert answer.parts() == ("Paris is in ", "France", ".")


def test_what_scores_under_the_threshold_is_dropped() -> None:
    ranked = rank(HITS, READINGS, 4.5, choose())
    assert ranked.answers == ()
    assert ranked.no_answer_probability == pytest.approx(1 - probability(3.0))


def test_without_a_calibration_the_threshold_holds_for_the_margin() -> None:
    assert [answer.text for answer in rank(HITS, READINGS, 0.0, choose()).answers] == ["France"]
    assert [answer.text for answer in rank(HITS, READINGS, -0.5, choose()).answers] == ["France", "Paris"]


def test_never_abstaining_gives_the_best_span_however_weak() -> None:
    readings = [Reading((Span(0, 5, -9.0),)), Reading(())]
    ranked = rank(HITS, readings, THRESHOLD, choose("never"))
    assert [(answer.text, answer.score) for answer in ranked.answers] == [("Paris", -8.0)]


def test_max_risk_keeps_only_probable_answers() -> None:
    sure = probability(3.0)
    assert [a.text for a in rank(HITS, READINGS, THRESHOLD, choose(max_risk=1 - sure)).answers] == ["France"]
    assert rank(HITS, READINGS, THRESHOLD, choose(max_risk=0.9 * (1 - sure))).answers == ()


def test_overlapping_passages_show_a_place_once() -> None:
    part = Passage("d1", "is in France.", start=106, title="Paris")
    ranked = rank([HITS[0], Hit(part, 0.1)], [READINGS[0], Reading((Span(6, 12, 1.5),))], THRESHOLD, choose())
    assert [(item.start, item.end, item.score) for item in ranked.answers[0].evidence] == [(112, 118, 3.0)]


def test_answers_that_are_articles_alone_are_kept_apart() -> None:
    passage = Passage("d", "The A")
    ranked = rank([Hit(passage, 0)], [Reading((Span(0, 3, 3.0), Span(4, 5, 2.0)))], THRESHOLD, choose())
    assert [answer.text for answer in ranked.answers] == ["The", "A"]


def test_no_passage_is_no_answer() -> None:
    ranked = rank([], [], THRESHOLD, choose("never"))
    assert (ranked.answers, ranked.no_answer_probability) == ((), 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((0, "threshold", None), "n_best is 0"),
        ((1, "sometimes", None), 'abstain is "sometimes".*threshold, never'),
        ((1, "never", 1.5), "max_risk is 1.5"),
    ],
)
def test_wrong_choices_are_named(options: tuple[int, str, float | None], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Choice.of(*options)


def test_abstain_takes_strings_and_members() -> None:
    assert Choice.of(1, Abstain.NEVER, None) == Choice.of(1, "never", None)
