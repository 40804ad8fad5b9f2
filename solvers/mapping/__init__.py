"""Hosts to the places of a grid of pipelines (rows) and stages (columns), over links that differ."""
