"""How Megatron-Core (0.16) is told which layers stand where.

The layout string (``--pipeline-model-parallel-layout``) writes every chunk in the order of the model: ``E``
the embedding, ``t`` a decoder layer, ``m`` a prediction layer, ``L`` the loss, ``|`` between chunks,
``x*n`` and ``(...)*n`` repeated; commas mean nothing. It says any cut. Where Megatron's own rule for
layers per stage gives the same cut (``get_num_layers_to_build``), older options do:

- layers spread evenly over the stages,
- the embedding, the loss or both counted as a layer each (``--account-for-...-in-pipeline-split``),
- a number of layers for the first, the last or both stages, the others alike.

With these the embedding stands on the first chunk, the loss and all prediction layers on the last, and
every stage divides its layers equally into its chunks.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from planner.exports.chunks import length
from planner.plan.stages import Chunk

Arguments = dict[str, int | str | bool]
"""Options with their values; True for one that takes none."""


def layout_string(chunks: Sequence[Chunk]) -> str:
    """The compact layout, e.g. ``Et*3|(tt|)*29mL`` for 31 chunks."""
    parts = [_chunk_string(chunk) for chunk in chunks]
    runs = [(part, len(list(run))) for part, run in groupby(parts[:-1])]
    return "".join(_repeated(f"{part}|", count) for part, count in runs) + parts[-1]


def _chunk_string(chunk: Chunk) -> str:
    layers = _repeated("t", length(chunk.layers)) + _repeated("m", length(chunk.mtp_layers))
    return "E" * chunk.embedding + layers + "L" * chunk.head


def _repeated(part: str, count: int) -> str:
    """``part`` ``count`` times, by the shorter way to write it."""
    plain = part * count
    short = f"{part}*{count}" if len(part) == 1 else f"({part})*{count}"
    return plain if len(plain) <= len(short) else short


def layout_refusals(chunks: Sequence[Chunk], stages: int) -> list[str]:
    """What Megatron-Core's ``validate_layer_layout`` does not accept of a cut: prediction layers stand
    together, in the last chunk of a stage, and after the first chunks of the first stage."""
    holding = [number for number, chunk in enumerate(chunks) if chunk.mtp_layers is not None]
    found = []
    if len(holding) > 1:
        found.append(f"prediction layers stand on chunks {', '.join(map(str, holding))}; Megatron keeps them on one")
    if any(number < len(chunks) - stages for number in holding):
        found.append(
            f"prediction layers stand on chunk {holding[0]}; Megatron allows them on the last chunk of a stage alone, "
            f"{len(chunks) - stages} to {len(chunks) - 1}"
        )
    return found


def split_arguments(chunks: Sequence[Chunk], stages: int) -> Arguments:
    """Options that cut the model as planned: none for one stage, the older ones where they say it, or else the
    layout."""
    if stages == 1:
        return {}
    held = [length(chunk.layers) for chunk in chunks]
    per_stage = len(chunks) // stages
    interleaved: Arguments = {"num-virtual-stages-per-pipeline-rank": per_stage} if per_stage > 1 else {}
    mtp_apart = any(chunk.mtp_layers is not None for chunk in chunks[:-1])
    ends = chunks[0].embedding and chunks[-1].head
    if ends and not mtp_apart:
        for arguments, layers in _older_splits(held, stages):
            if layers == held:
                return {**interleaved, **arguments}
    return {"pipeline-model-parallel-layout": layout_string(chunks)}


def _older_splits(held: Sequence[int], stages: int) -> Iterator[tuple[Arguments, list[int]]]:
    """Options and the layers of each chunk that they give."""
    total, chunks = sum(held), len(held)
    for embedding, loss in ((False, False), (True, True), (True, False), (False, True)):
        each, rest = divmod(total + embedding + loss, chunks)
        if not rest:
            arguments: Arguments = {}
            if embedding:
                arguments["account-for-embedding-in-pipeline-split"] = True
            if loss:
                arguments["account-for-loss-in-pipeline-split"] = True
            yield arguments, [each - embedding, *[each] * (chunks - 2), each - loss]
    first, last = (sum(held[stage::stages]) for stage in (0, stages - 1))
    names = ("decoder-first-pipeline-num-layers", "decoder-last-pipeline-num-layers")
    for given_first, given_last in ((True, False), (False, True), (True, True)):
        middle = stages - given_first - given_last
        left = total - first * given_first - last * given_last
        if left % middle if middle else left:
            continue
        per_stage = [left // middle if middle else 0] * stages
        if given_first:
            per_stage[0] = first
        if given_last:
            per_stage[-1] = last
        if any(count % (chunks // stages) for count in per_stage):
            continue
        arguments = {
            name: count
            for name, count, given in zip(names, (first, last), (given_first, given_last), strict=True)
            if given
        }
        yield arguments, [per_stage[chunk % stages] // (chunks // stages) for chunk in range(chunks)]
