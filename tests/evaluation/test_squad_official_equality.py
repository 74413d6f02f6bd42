"""Equality, to the last digit, with the official algorithm written a second time from its description."""

import random
import re
import string
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from odqa.evaluation import squad

WORDS = ["the", "a", "An", "cat", "Cat,", "dog", "dog's", "(dog)", "red", "été", "“so”", "–", "...", "3.5", "東京"]


class Reference:
    """The official evaluation as a table of dictionaries by question id."""

    def __init__(self, data, predictions, na_probs=None):
        self.predictions = predictions
        self.na_probs = na_probs
        self.answers = {
            qa["id"]: [answer["text"] for answer in qa["answers"]]
            for article in data
            for paragraph in article["paragraphs"]
            for qa in paragraph["qas"]
        }
        self.exact = {name: self.best(name, self.same) for name in self.answers}
        self.f1 = {name: self.best(name, self.overlap) for name in self.answers}

    @staticmethod
    def words(text):
        kept = "".join(character for character in text.lower() if character not in set(string.punctuation))
        return re.sub(r"\b(a|an|the)\b", " ", kept).split()

    def same(self, gold, prediction):
        return int(" ".join(self.words(gold)) == " ".join(self.words(prediction)))

    def overlap(self, gold, prediction):
        gold_words, words = self.words(gold), self.words(prediction)
        if not gold_words or not words:
            return int(gold_words == words)
        shared = 0
        left = Counter(gold_words)
        for word in words:
            if left[word] > 0:
                left[word] -= 1
                shared += 1
        if not shared:
            return 0
        precision, recall = 1.0 * shared / len(words), 1.0 * shared / len(gold_words)
        return (2 * precision * recall) / (precision + recall)

    def best(self, name, measure):
        golds = [text for text in self.answers[name] if self.words(text)]
        return max(measure(gold, self.predictions[name]) for gold in golds or [""])

    def cut(self, scores, threshold):
        probabilities = self.na_probs or dict.fromkeys(self.predictions, 0.0)
        return {
            name: float(not self.answers[name]) if probabilities[name] > threshold else score
            for name, score in scores.items()
        }

    def sweep(self):
        return sorted(self.na_probs, key=lambda name: self.na_probs[name])

    def best_threshold(self, scores):
        current = best = sum(1 for texts in self.answers.values() if not texts)
        threshold = 0.0
        for name in self.sweep():
            if self.answers[name]:
                current += scores[name]
            elif self.predictions[name]:
                current -= 1
            if current > best:
                best, threshold = current, self.na_probs[name]
        return 100.0 * best / len(scores), threshold

    def average_precision(self, scores):
        names = self.sweep()
        positives = float(sum(1 for texts in self.answers.values() if texts))
        hits, points = 0.0, [(1.0, 0.0)]
        area = 0.0
        for place, name in enumerate(names):
            hits += scores[name] if self.answers[name] else 0
            following = names[place + 1 : place + 2]
            if not following or self.na_probs[following[0]] != self.na_probs[name]:
                points.append((hits / float(place + 1), hits / positives))
                area += points[-1][0] * (points[-1][1] - points[-2][1])
        return 100.0 * area

    def figures(self, threshold):
        exact, f1 = self.cut(self.exact, threshold), self.cut(self.f1, threshold)
        groups = {
            "": list(self.answers),
            "HasAns_": [name for name, texts in self.answers.items() if texts],
            "NoAns_": [name for name, texts in self.answers.items() if not texts],
        }
        result = {}
        for prefix, names in groups.items():
            if names:
                result[f"{prefix}exact"] = 100.0 * sum(exact[name] for name in names) / len(names)
                result[f"{prefix}f1"] = 100.0 * sum(f1[name] for name in names) / len(names)
                result[f"{prefix}total"] = len(names)
        if self.na_probs is None:
            return result
        result["best_exact"], result["best_exact_thresh"] = self.best_threshold(self.exact)
        result["best_f1"], result["best_f1_thresh"] = self.best_threshold(self.f1)
        if groups["HasAns_"]:
            result["pr_exact_ap"] = self.average_precision(self.exact)
            result["pr_f1_ap"] = self.average_precision(self.f1)
            result["pr_oracle_ap"] = self.average_precision({name: float(bool(t)) for name, t in self.answers.items()})
        return result


def articles(golds, paragraph_size=3):
    """An official "data" list that spreads the questions over paragraphs and articles."""
    qas = [{"id": f"q{n}", "answers": [{"text": text} for text in texts]} for n, texts in enumerate(golds)]
    paragraphs = [{"qas": qas[n : n + paragraph_size]} for n in range(0, len(qas), paragraph_size)]
    return [{"title": str(n), "paragraphs": paragraphs[n : n + 2]} for n in range(0, len(paragraphs), 2)]


def check(golds, predictions, na_probs, threshold):
    data = articles(golds)
    ours = squad.evaluate(data, predictions, na_probs, threshold)
    official = Reference(data, predictions, na_probs).figures(threshold)
    assert ours == official
    assert list(ours) == list(official)


def phrase(rng, longest):
    return " ".join(rng.choices(WORDS, k=rng.randint(0, longest)))


def shuffled(rng, values):
    items = list(values.items())
    rng.shuffle(items)
    return dict(items)


def case(rng, size):
    """Random gold answers, predictions and probabilities, many of them equal, in an order of their own."""
    golds = [[phrase(rng, 4) for _ in range(rng.choice([0, 0, 1, 3]))] for _ in range(size)]
    predictions = {
        f"q{n}": rng.choice(texts) if texts and rng.random() < 0.4 else phrase(rng, 3) for n, texts in enumerate(golds)
    }
    steps = rng.choice([1, 4, 1000])
    na_probs = {name: rng.randint(0, steps) / steps for name in predictions}
    return golds, shuffled(rng, predictions), shuffled(rng, na_probs)


def test_many_small_random_sets():
    rng = random.Random(7)  # noqa: S311
    for _ in range(2000):
        golds, predictions, na_probs = case(rng, rng.randint(1, 12))
        check(golds, predictions, None, rng.choice([1.0, 0.0, -1.0]))
        check(golds, predictions, na_probs, rng.choice([1.0, 0.5, 0.25, 0.0]))


def test_large_random_sets():
    rng = random.Random(8)  # noqa: S311
    for _ in range(3):
        golds, predictions, na_probs = case(rng, 3000)
        check(golds, predictions, na_probs, 0.5)


TEXTS = st.one_of(st.text(max_size=12), st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join))
NA_PROBS = st.one_of(st.sampled_from([0, 0.0, 0.5, 1.0]), st.floats(-20, 20))
ROWS = st.lists(st.tuples(st.lists(TEXTS, max_size=3), TEXTS, NA_PROBS), min_size=1, max_size=10)


@settings(max_examples=300, deadline=None)
@given(rows=ROWS, threshold=st.sampled_from([1.0, 0.5, 0.0]), turned=st.booleans())
def test_any_text_and_any_number(rows, threshold, turned):
    predictions = {f"q{n}": prediction for n, (_, prediction, _) in enumerate(rows)}
    na_probs = {f"q{n}": na_prob for n, (_, _, na_prob) in enumerate(rows)}
    if turned:
        na_probs = dict(reversed(na_probs.items()))
    check([golds for golds, _, _ in rows], predictions, na_probs, threshold)
