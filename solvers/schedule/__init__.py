"""Schedules of a pipeline: which operation each device runs when, with a bound on every other schedule."""
