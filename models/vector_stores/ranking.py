"""Ranking options of a search, in the form of the provider's API."""

import math
from dataclasses import dataclass
from typing import Any

from models.platform.errors import DomainError

RANKERS = ("auto", "default-2024-11-15", "none")
SMOOTHING = 60  # of reciprocal rank fusion: how little the first ranks stand out


class InvalidRanking(DomainError):
    status, code, message = 422, "invalid_ranking_options", "The ranking options are not valid."


@dataclass(frozen=True, slots=True)
class Ranking:
    """How chunks are ordered, and the lowest score of a hit.

    By default the ranks by meaning and by words are fused. With one weight of zero, or the ranker `none`, which looks at
    the meaning only, there is one rank.
    """

    score_threshold: float = 0.0
    embedding_weight: float = 1.0
    text_weight: float = 1.0

    def fuse(self, by_meaning: int | None, by_words: int | None) -> float:
        """The score of a chunk with these ranks, from 0 (the best): 1 for the best by both, more than 0 for any."""
        ranked = [(self.embedding_weight, by_meaning), (self.text_weight, by_words)]
        score = sum(weight / (SMOOTHING + 1 + rank) for weight, rank in ranked if rank is not None)
        return score * (SMOOTHING + 1) / (self.embedding_weight + self.text_weight)


def parse(options: Any) -> Ranking:
    """The ranking of options as a client sends them. InvalidRanking says what is wrong."""
    if options is None:
        return Ranking()
    _only(options, {"ranker", "score_threshold", "hybrid_search"}, "ranking_options")
    ranker = options.get("ranker") or "auto"
    if ranker not in RANKERS:
        raise InvalidRanking(f"ranking_options.ranker must be one of {', '.join(RANKERS)}.")
    threshold = _number(options.get("score_threshold") or 0, 1, "ranking_options.score_threshold")
    by_meaning, by_words = 1.0, 0.0 if ranker == "none" else 1.0
    if (weights := options.get("hybrid_search")) is not None:
        where = "ranking_options.hybrid_search"
        if ranker == "none":
            raise InvalidRanking(f"{where} has no effect with the ranker none.")
        _only(weights, {"embedding_weight", "text_weight"}, where)
        by_meaning = _number(weights.get("embedding_weight"), 1e6, f"{where}.embedding_weight")
        by_words = _number(weights.get("text_weight"), 1e6, f"{where}.text_weight")
        if max(by_meaning, by_words) < 1e-6:
            raise InvalidRanking(f"{where}: one of the weights must be greater than zero.")
    return Ranking(threshold, by_meaning, by_words)


def _only(given: Any, names: set[str], where: str) -> None:
    if not isinstance(given, dict):
        raise InvalidRanking(f"{where} must be an object.")
    if unknown := given.keys() - names:
        raise InvalidRanking(f"{where} has an unknown member: {str(min(map(str, unknown)))[:64]}.")


def _number(given: Any, highest: float, where: str) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not math.isfinite(given):
        raise InvalidRanking(f"{where} must be a number.")
    if not 0 <= given <= highest:
        raise InvalidRanking(f"{where} must be from 0 to {highest:g}.")
    return float(given)
