"""Rows of published training runs: their cells, cluster, model and configuration."""
