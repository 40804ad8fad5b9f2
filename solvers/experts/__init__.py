"""Experts to GPUs: how many replicas each expert gets, and which slot of which GPU holds them."""
