"""Chunks of a model cut anywhere."""

import itertools
import random
from collections.abc import Sequence

from planner.plan.stages import Chunk

NO_TIME = {f"{name}_seconds": 0.0 for name in ("forward", "input_grad", "weight_grad", "recompute")}


def cut_chunks(layers: int, mtp: int, boundaries: Sequence[int]) -> list[Chunk]:
    """The chain embedding, ``layers``, ``mtp`` prediction layers, head, cut at ``boundaries``."""
    chain = ["E", *["t"] * layers, *["m"] * mtp, "L"]
    chunks = []
    for number, (first, end) in enumerate(itertools.pairwise(boundaries)):
        part = chain[first:end]
        begun = [chain[:first].count(letter) for letter in "tm"]
        spans = [
            (start, start + part.count(letter)) if letter in part else None
            for start, letter in zip(begun, "tm", strict=True)
        ]
        chunks.append(
            Chunk(
                chunk=number,
                embedding="E" in part,
                layers=spans[0],
                mtp_layers=spans[1],
                head="L" in part,
                **NO_TIME,
            )
        )
    return chunks


def from_sizes(layers: int, mtp: int, sizes: Sequence[int]) -> list[Chunk]:
    """Cut into chunks of ``sizes`` items, embedding and head counted."""
    boundaries = [0]
    for size in sizes:
        boundaries.append(boundaries[-1] + size)
    assert boundaries[-1] == layers + mtp + 2
    return cut_chunks(layers, mtp, boundaries)


def random_cut(seed: int) -> tuple[int, int, int, list[Chunk]]:
    """(layers, prediction layers, stages, chunks), no chunk empty, prediction layers on one chunk, which is
    the last of a stage."""
    draw = random.Random(seed)
    stages, per_stage = draw.choice([1, 2, 3, 4, 8, 16]), draw.choice([1, 1, 2, 3, 7])
    chunks, mtp = stages * per_stage, draw.choice([0, 0, 1, 2])
    layers = chunks + draw.randrange(2 * chunks + 3)
    tail = draw.choice([1, 2]) if mtp and stages > 1 else 1  # head apart from the prediction layers, or not
    inner = sorted(draw.sample(range(1, layers + 1), chunks - tail))
    ends = [layers + 2 + mtp] if tail == 1 else [layers + 1 + mtp, layers + 2 + mtp]
    return layers, mtp, stages, cut_chunks(layers, mtp, [0, *inner, *ends])
