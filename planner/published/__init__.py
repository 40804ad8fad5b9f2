"""Predictions of published training runs: row by row, and how good they are."""

from planner.published.rows import PredictedRow, allocated_bytes, best_choice, predict_rows
from planner.published.scores import Score, score, scores

__all__ = ["PredictedRow", "Score", "allocated_bytes", "best_choice", "predict_rows", "score", "scores"]
