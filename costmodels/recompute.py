"""What a layer drops in its forward pass and redoes in its backward pass.

A level is ``none``, ``full`` (the layer keeps its input alone), or modules of Megatron-Core's
``--recompute-modules``, joined by ``+`` in alphabetical order; ``selective`` is ``core_attn`` alone
(arXiv 2205.05198 sec. 5). Checkpointed modules keep their input and drop what they keep inside:

- ``core_attn``: the scores, if attention writes them
- ``mlp``: a dense feed-forward block, with the norm fused into it
- ``moe``: a block of experts from router to combine, shared experts included
- ``shared_experts``: those alone

The others drop their *output* once the next operator has used it, and redo it for that operator:

- ``layernorm``: norms that stand alone, before latent attention and before a router; Transformer
  Engine fuses the others into the GEMM that follows
- ``mla_up_proj``: latent attention's queries, keys and values, from the compressed ones
- ``moe_act``: the activation inside routed experts

Some decoder layers alone may be recomputed in full, the rest not at all:

- ``full:5``: the first 5 of each chunk (Megatron-Core's ``--recompute-method block
  --recompute-num-layers 5``: ``TransformerBlock`` counts layers anew in each chunk of a stage, and
  skips multi-token-prediction layers)
- ``full/2``: every 2nd that a stage builds, from its 2nd on (torchtitan's selective activation
  checkpointing by layer: one counter runs through all chunks of a rank)
"""

import re
from collections.abc import Iterable, Sequence

from costmodels.architecture import Mlp, Model, Moe
from costmodels.configuration import Job, Recompute

ATTENTION_MODULES = ("core_attn", "layernorm", "mla_up_proj")
FEED_FORWARD_MODULES = ("layernorm", "mlp", "moe", "moe_act", "shared_experts")
MODULES: tuple[str, ...] = tuple(sorted({*ATTENTION_MODULES, *FEED_FORWARD_MODULES}))
NONE, SELECTIVE, FULL = "none", "selective", "full"
CORE_ATTENTION = "core_attn"
EXPECTED = (
    "none, selective, full, full:N (the first N layers of each chunk), full/K (every K-th layer), "
    f"or modules of {', '.join(MODULES)} joined by +"
)
FIRST, EVERY = ":", "/"
SOME_LAYERS = re.compile(rf"{FULL}([{FIRST}{EVERY}])0*([1-9]\d{{0,5}})")


def level_of(modules: Iterable[str]) -> Recompute:
    """The level that recomputes ``modules``. Raises ``ValueError`` naming an unknown one."""
    chosen = sorted(set(modules))
    for module in chosen:
        if module not in MODULES:
            raise ValueError(f"no module {module!r}; one of {', '.join(MODULES)}")
    if not chosen:
        return NONE
    return SELECTIVE if chosen == [CORE_ATTENTION] else "+".join(chosen)


def modules_of(level: Recompute) -> frozenset[str]:
    """The modules that ``level`` recomputes; none for ``none``, ``full`` and ``full`` of some layers.
    Raises ``ValueError`` unless ``level`` is written as ``canonical`` writes it."""
    if level in (NONE, FULL) or (of_some_layers(level) and canonical(level) == level):
        return frozenset()
    modules = frozenset((CORE_ATTENTION,)) if level == SELECTIVE else frozenset(level.split("+"))
    if not modules <= set(MODULES) or level_of(modules) != level:
        raise ValueError(f"recompute={level}: {EXPECTED}, in alphabetical order")
    return modules


def canonical(level: str) -> Recompute:
    """``level`` with its modules in order, each once: ``moe_act+layernorm`` is ``layernorm+moe_act``.

    Raises ``ValueError`` for what is no level."""
    if level in (NONE, SELECTIVE, FULL):
        return level
    if counted := SOME_LAYERS.fullmatch(level):
        kind, number = counted[1], int(counted[2])
        return FULL if (kind, number) == (EVERY, 1) else f"{FULL}{kind}{number}"
    try:
        return level_of(level.split("+"))
    except ValueError:
        raise ValueError(f"recompute={level}: one of {EXPECTED}") from None


def of_some_layers(level: Recompute) -> bool:
    """Whether ``level`` recomputes some layers in full and the rest not at all."""
    return SOME_LAYERS.fullmatch(level) is not None


def first_layers(level: Recompute) -> int | None:
    """N of ``full:N``; None for any other level."""
    counted = SOME_LAYERS.fullmatch(level)
    return int(counted[2]) if counted and counted[1] == FIRST else None


def recomputed_layers(level: Recompute, layers: Sequence[int], stage_of_chunk: Sequence[int]) -> list[list[bool]]:
    """Which layers are recomputed at a level ``of_some_layers``: a flag for each of the ``layers[c]``
    decoder layers of each chunk c, which runs on stage ``stage_of_chunk[c]``."""
    counted = SOME_LAYERS.fullmatch(level)
    if counted is None:
        raise ValueError(f"recompute={level}: treats all layers alike")
    number = int(counted[2])
    if counted[1] == FIRST:
        return [[layer < number for layer in range(count)] for count in layers]
    before = [
        sum(layers[other] for other in range(chunk) if stage_of_chunk[other] == stage)
        for chunk, stage in enumerate(stage_of_chunk)
    ]
    return [[(start + layer + 1) % number == 0 for layer in range(n)] for start, n in zip(before, layers, strict=True)]


def default_levels(model: Model, job: Job) -> tuple[Recompute, ...]:
    """The levels a search tries: none, selective where attention writes its scores, a chain of ever
    more modules from cheap to dear of those that the model has, and full."""
    kinds = [model.kinds[kind] for kind in {*model.layers, *model.mtp_layers}]
    latent = any(kind.attention.kind == "mla" for kind in kinds)
    moe = any(isinstance(kind.block, Moe) for kind in kinds)
    dense = any(isinstance(kind.block, Mlp) for kind in kinds)
    core = [CORE_ATTENTION] if job.attention == "unfused" else []
    norms = ["layernorm"] if latent or moe else []
    projections = ["mla_up_proj"] if latent else []
    blocks = [*(["mlp"] if dense else []), *(["moe"] if moe else [])]
    chain: tuple[list[str], ...] = (
        [],
        core,
        [*core, *norms, *(["moe_act"] if moe else [])],
        [*core, *norms, *(["moe_act"] if moe else []), *projections],
        [*core, *norms, *projections, *blocks],
    )
    return (*dict.fromkeys(level_of(modules) for modules in chain), FULL)
