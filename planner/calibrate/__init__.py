"""Figures of a calibration from measurements: kernels, collectives and whole steps."""
