"""The retriever's training loop: sentence-transformers' trainer with odqa's batches, loss, scores and checkpoints."""
# ruff: noqa: ARG002 - the Trainer's own signatures

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from torch.nn.functional import cross_entropy, normalize
from torch.utils.data import DataLoader

from odqa.recipes import RetrieverTrainingRecipe
from odqa.training import checkpoints
from odqa.training.pairs import Batches, Collator
from odqa.training.plan import Plan
from odqa.training.resumable import ResumableTrainer, Score, options
from odqa.training.retrieval import CHOOSES
from odqa.training.run import RunFolder


def arguments(recipe: RetrieverTrainingRecipe, plan: Plan, run: RunFolder, *, save_every: int, log_every: int) -> Any:
    """Sentence-transformers' form of a recipe."""
    shared = options(recipe, plan, run, save_every=save_every, log_every=log_every, measure=CHOOSES)
    return SentenceTransformerTrainingArguments(**shared, lr_scheduler_type="linear")


class RetrieverTrainer(ResumableTrainer, SentenceTransformerTrainer):  # type: ignore[misc]  # both are untyped
    """Trains on pairs; the batches are `Batches`', so that they hang on no generator's state."""

    order: Batches

    def __init__(
        self,
        model: Any,
        args: Any,
        *,
        run: RunFolder,
        recipe: RetrieverTrainingRecipe,
        plan: Plan,
        order: Batches,
        collator: Collator,
        dense_weight: float,
        score: Score,
    ) -> None:
        """Put the parts together; training begins with `go_on`."""
        args._n_gpu = min(args.n_gpu, 1)
        super().__init__(
            model=model,
            args=args,
            data_collator=collator,
            train_dataset=collator.pairs,
            eval_dataset=collator.pairs,
            loss=BatchLoss(model, recipe.scale, dense_weight),
        )
        self.order = order
        self.keep(run, recipe, plan, score)

    def get_train_dataloader(self) -> Any:
        """The pairs, batched as `order` says."""
        loader = DataLoader(self.train_dataset, batch_sampler=self.order, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)

    def preprocess_dataset(self, dataset: Any = None, dataset_name: str | None = None) -> Any:
        """Take the pairs as they are; the collator knows their columns."""
        return dataset

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Leave the card to odqa."""

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:
        self.model.load_state_dict(checkpoints.weights(Path(checkpoint_path)))


class BatchLoss(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Mean over questions of `-log softmax(scale * score)` of the own passage among all of the batch.

    The score is the one that the pipeline ranks by: the cosine of the passage, or of its best sentence where the
    batch says whose tokens are whose, times `dense_weight`, and what its terms add.

    Source: van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding"; beside BM25: Gao et
    al. 2021, "Complementing Lexical Retrieval with Semantic Residual Embedding".
    """

    def __init__(self, model: Any, scale: float, dense_weight: float = 1.0) -> None:
        """Train `model`; `scale` is one over the temperature."""
        super().__init__()
        self.model = model
        self.scale = scale
        self.dense_weight = dense_weight

    def forward(self, sentence_features: Sequence[dict[str, Any]], labels: Any) -> Any:
        """Parts of questions, known by their `terms`, and of passages; `labels` are the own passages' places."""
        asked = [part for part in sentence_features if "terms" in part]
        passages = [part for part in sentence_features if "terms" not in part]
        terms = torch.cat([part.pop("terms") for part in asked])
        questions = torch.cat([normalize(self.model(part)["sentence_embedding"].float(), dim=-1) for part in asked])
        cosines = torch.cat([self._cosines(questions, part) for part in passages], dim=1)
        return cross_entropy(self.scale * (self.dense_weight * cosines + terms), labels)

    def _cosines(self, questions: Any, part: dict[str, Any]) -> Any:
        """Of each question and the best sentence of each passage, (questions, passages)."""
        numbers = part.pop("sentences", None)
        found = self.model(part)
        if numbers is None:
            return questions @ normalize(found["sentence_embedding"].float(), dim=-1).T
        members = numbers[:, None] == torch.arange(int(numbers.max()) + 1, device=numbers.device)[:, None]
        pooled = normalize(members.float() @ found["token_embeddings"].float(), dim=-1)
        cosines = torch.einsum("qd,psd->qps", questions, pooled)
        return cosines.masked_fill(~members.any(dim=-1), -torch.inf).amax(dim=-1)
