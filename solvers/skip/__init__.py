"""Schedules of pipelines whose micro-batches skip stages."""
