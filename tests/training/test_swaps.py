from __future__ import annotations

import numpy as np
import pytest

from odqa.evaluation.dataset import GoldAnswer, Question
from odqa.recipes import TrainingRecipe
from odqa.training.data import examples
from odqa.training.swaps import swapped

CONTEXT = "In 1912 Ada Byron met Karl Marx in Paris. Later they saw London, but never 1848's Rome, with 12 friends."


def ask(text: str, answer: str = "", context: str = CONTEXT, kind: str = "original") -> Question:
    answers = (GoldAnswer(answer, context.index(answer)),) if answer else ()
    return Question(text, text, context, "A", "A-0", answers, not answers, text_kind=kind)


def outcomes(question: Question) -> set[str | None]:
    rng = np.random.default_rng(0)
    return {swapped(question, rng) for _ in range(40)}


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("Whom did Ada Byron meet?", "London", {"Whom did Karl Marx meet?"}),
        ("Whom did they meet in Paris?", "Karl Marx", {"Whom did they meet in London?", "Whom did they meet in Rome?"}),
        ("What happened in 1912?", "Ada Byron met Karl Marx", {"What happened in 1848?"}),
        ("Who met Karl Marx?", "Ada Byron", {None}),  # the only other name is the answer
        ("Was Rome before London for Paris?", "12 friends", {None}),  # all the others are in the question
        ("Had they 12 friends?", "never", {None}),  # no other number has two digits
        ("Later than whom?", "Karl Marx", {None}),  # it begins the question
        ("Who saw Madrid?", "they", {None}),  # it is not in the passage
    ],
)
def test_swaps_worked_by_hand(text: str, answer: str, expected: set[str | None]) -> None:
    assert outcomes(ask(text, answer)) == expected


def test_shared_words_letters_and_first_words_of_sentences_are_no_substitutes() -> None:
    context = "Everywhere the House of Lords and the House of Commons rule. Yet B and Cd do not, nor does Peru."
    assert outcomes(ask("What does the House of Lords do?", "rule", context)) == {None}
    assert outcomes(ask("Where is Peru?", "Everywhere", context)) == {None}
    assert outcomes(ask("Is B or Cd in it?", "Yet", context)) == {None}


def test_swapped_questions_train_beside_the_others() -> None:
    asked = [ask(f"Whom did Ada Byron meet, {number}?", "London") for number in ("one", "two", "three", "four")]
    rest = [ask("Who met Ada Byron?"), ask("Whom did Ada Byron see?", "London", kind="backtranslated")]
    settings = {"base": "b", "learning_rate": 1e-3, "epochs": 1, "batch_size": 8}
    found = examples([*asked, *rest], TrainingRecipe(**settings, swapped_share=0.5))
    assert [one.question for one in found[:6]] == [one.question for one in (*asked, *rest)]
    made = found[6:]
    assert len(made) == 2 and all(one.span is None and one.context == CONTEXT for one in made)
    assert all("Karl Marx" in one.question and one.id.endswith("?-swapped") for one in made)
    assert found == examples([*asked, *rest], TrainingRecipe(**settings, swapped_share=0.5))
    assert len(examples([*asked, *rest], TrainingRecipe(**settings))) == 6
    all_of_them = examples([*asked, *rest], TrainingRecipe(**settings, swapped_share=1.0, backtranslated_weight=0.5))
    assert sorted(one.weight for one in all_of_them[6:]) == [0.5, 1.0, 1.0, 1.0, 1.0]
    alone = examples([*asked, *rest], TrainingRecipe(**settings, swapped_share=1.0, backtranslated_weight=0.0))
    assert len(alone) == 5 + 4
