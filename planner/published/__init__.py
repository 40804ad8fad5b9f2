"""Predictions of published training runs: row by row, and how good they are."""

from planner.published.rows import PredictedRow, best_choice, predict_rows, printed_bytes
from planner.published.scores import Score, score, scores

__all__ = ["PredictedRow", "Score", "best_choice", "predict_rows", "printed_bytes", "score", "scores"]
