"""Readers of files that users already own."""
