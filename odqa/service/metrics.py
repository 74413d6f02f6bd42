"""What the service measures, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
QUESTIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The measures of one service."""

    def __init__(self) -> None:
        """Register them all."""
        on = self.registry = CollectorRegistry()
        self.requests = Counter("odqa_requests", "Requests.", ["route", "method", "status"], registry=on)
        self.request_seconds = _seconds("odqa_request_seconds", "Time of a request.", on, "route")
        self.stage_seconds = _seconds("odqa_stage_seconds", "Time of a stage of answering.", on, "stage")
        self.batch_seconds = _seconds("odqa_batch_seconds", "Time of a micro-batch.", on)
        self.batch_questions = Histogram(
            "odqa_batch_questions", "Questions of a micro-batch.", buckets=QUESTIONS, registry=on
        )
        self.passages_read = Counter("odqa_passages_read", "Passages read.", registry=on)
        self.answers = Counter("odqa_answers", "Questions by their outcome.", ["outcome"], registry=on)

    def batch(self, questions: int, seconds: float) -> None:
        """Count a micro-batch."""
        self.batch_questions.observe(questions)
        self.batch_seconds.observe(seconds)

    def stages(self, timings: Mapping[str, float]) -> None:
        """Count the stages of one answer."""
        for stage, seconds in timings.items():
            self.stage_seconds.labels(stage).observe(seconds)

    def outcome(self, *, no_answer: bool, passages: int) -> None:
        """Count one answered question."""
        self.answers.labels("no_answer" if no_answer else "answer").inc()
        self.passages_read.inc(passages)

    def gauge(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Measure a value whenever it is asked for."""
        Gauge(name, description, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All measures in Prometheus's form."""
        return generate_latest(self.registry)


def _seconds(name: str, description: str, registry: CollectorRegistry, *labels: str) -> Histogram:
    return Histogram(name, description, labels, buckets=SECONDS, registry=registry)
