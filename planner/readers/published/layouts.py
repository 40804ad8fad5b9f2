"""Where a row says its pipeline is cut: Megatron-Core's layout strings and its options for uneven stages.

A layout (``--pipeline-model-parallel-layout``) writes every chunk in order: ``E`` the embedding, ``t`` a
decoder layer, ``m`` a prediction layer, ``L`` the head, ``|`` between chunks, ``x*n`` and ``(xyz)*n``
repeated; commas mean nothing (``PipelineParallelLayerLayout``). Without one, layers are spread as
``get_num_layers_to_build`` does: a stated number on the first and the last stage and equally many on
the others, or the embedding and the head counting as a layer each.
"""

import re
from itertools import pairwise
from typing import Any

import numpy as np

from costmodels.architecture import Model
from costmodels.configuration import Configuration
from costmodels.items import chain_of
from planner.readers.published.cells import Refusal, size, text
from planner.readers.published.table import Cells

LAYOUT = ("pipeline-model-parallel-layout", "pp-layout")
FIRST = ("num-layers-in-first-pipeline-stage", "decoder-first-pipeline-num-layers")
LAST = ("num-layers-in-last-pipeline-stage", "decoder-last-pipeline-num-layers")
COUNTED = ("account-for-embedding-in-pipeline-split", "account-for-loss-in-pipeline-split")
REPEATS = (re.compile(r"\(([^()]+)\)\*(\d+)"), re.compile(r"(.)\*(\d+)"))
LONGEST = 20_000

Options = dict[str, Any]


def stated_boundaries(
    cells: Cells, extra: dict[str, Any], model: Model, configuration: Configuration
) -> tuple[int, ...] | None:
    """Where ``model``'s chain is cut (see ``costmodels.step.price_step``); None where the row does not
    say. Refuses what does not place every layer once."""
    options = _options(cells, extra)
    layout = _layout(options)
    if layout is not None:
        return _of_layout(layout, model, configuration)
    if configuration.pp == 1:
        return None
    first, last = (_count(options, names) for names in (FIRST, LAST))
    if first is not None or last is not None:
        return _of_counts(_uneven_stages(len(model.layers), configuration.pp, first, last), model, configuration)
    embedding, loss = (_is_on(options.get(name)) for name in COUNTED)
    if not (embedding or loss):
        return None
    stages = _counted_stages(len(model.layers), configuration.pp, embedding + loss)
    return _of_counts(stages, model, configuration, (embedding, loss))


def layout_chunks(cells: Cells, extra: dict[str, Any]) -> int | None:
    """How many chunks the row's layout has; None without one."""
    layout = _layout(_options(cells, extra))
    return None if layout is None else len(_chunks(layout))


def _options(cells: Cells, extra: dict[str, Any]) -> Options:
    """``extra_json`` and the ``key=value`` parts of what the row says of schedule and overlap."""
    parts = [part.split("=", 1) for column in ("schedule", "overlap") for part in text(cells, column).split(";")]
    stated: Options = {part[0]: part[1].strip() for part in parts if len(part) == 2}
    return {key.strip().lower().lstrip("-").replace("_", "-"): value for key, value in (stated | extra).items()}


def _layout(options: Options) -> str | None:
    found = next((options[name] for name in LAYOUT if options.get(name)), None)
    if found is not None and not isinstance(found, str):
        raise Refusal("a pipeline layout that is not a string such as Et*3|(tt|)*6tmL")
    return found


def _chunks(layout: str) -> list[str]:
    flat = layout.replace(",", "").replace(" ", "")
    for pattern in REPEATS:
        if any(int(count) > LONGEST for _, count in pattern.findall(flat)) or len(flat) > LONGEST:
            raise Refusal(f"layout {layout[:40]!r} repeats too often")
        flat = pattern.sub(lambda found: found[1] * int(found[2]), flat)
    if not set(flat) <= set("EtmL|"):
        raise Refusal(f"layout {layout[:40]!r}: made of E, t, m, L, |, and repeats")
    return flat.split("|")


def _of_layout(layout: str, model: Model, configuration: Configuration) -> tuple[int, ...] | None:
    chunks = _chunks(layout)
    if len(chunks) != configuration.pp * configuration.vp:
        return None  # an interleaving that the row's micro-batches do not allow, priced without
    whole, shown = "".join(chunks), layout[:40]
    for letter, what, held in (
        ("E", "embeddings", 1),
        ("t", "layers", len(model.layers)),
        ("m", "prediction layers", len(model.mtp_layers)),
        ("L", "heads", 1),
    ):
        if whole.count(letter) != held:
            raise Refusal(f"layout {shown!r} places {whole.count(letter)} {what} of the model's {held}")
    if "".join(sorted(whole, key="EtmL".index)) != whole:
        raise Refusal(f"layout {shown!r} is not in the order E, t, m, L")
    if not all(chunks):
        raise Refusal(f"layout {shown!r} has an empty chunk")
    return (0, *(int(end) for end in np.cumsum([len(chunk) for chunk in chunks])))


def _uneven_stages(layers: int, stages: int, first: int | None, last: int | None) -> list[int]:
    """Layers of each stage with those of the first, the last or both given."""
    ends = (first is not None) + (last is not None)
    left, between = layers - (first or 0) - (last or 0), stages - ends
    if left < 0 or (left % between if between else left):
        raise Refusal(f"{layers} layers: {left} are left for {between} stages beside the first's or last's own number")
    middle = [left // between] * between if between else []
    return [*([first] if first is not None else []), *middle, *([last] if last is not None else [])]


def _counted_stages(layers: int, stages: int, counted: int) -> list[int]:
    """Layers of each stage where ``counted`` of the embedding and the head count as one."""
    each, rest = divmod(layers + counted, stages)
    if rest:
        raise Refusal(f"{layers} layers and {counted} of embedding and head do not divide over {stages} stages")
    return [each] * stages


def _of_counts(
    stages: list[int], model: Model, configuration: Configuration, counted: tuple[bool, bool] = (False, False)
) -> tuple[int, ...]:
    """Each stage's layers over its ``vp`` chunks, and so along the chain; ``counted``: those of the first
    chunk are one less for the embedding, of the last for the head."""
    pp, vp = configuration.pp, configuration.vp
    if any(count % vp for count in stages):
        raise Refusal(f"{' '.join(map(str, stages))[:40]} layers a stage do not divide into vp={vp} chunks")
    layers = [stages[chunk % pp] // vp for chunk in range(pp * vp)]
    layers[0] -= counted[0]
    layers[-1] -= counted[1]
    inner = (1 + np.cumsum(layers[:-1])).tolist()
    cut = (0, *inner, len(chain_of(model).types))
    if any(a >= b for a, b in pairwise(cut)):
        raise Refusal(f"{' '.join(map(str, stages))[:40]} layers a stage leave a chunk empty")
    return cut


def _count(options: Options, names: tuple[str, ...]) -> int | None:
    name = next((name for name in names if options.get(name) not in (None, "None", "")), None)
    return None if name is None else size(options, name)


def _is_on(value: Any) -> bool:
    return value not in (None, False, "", "None", "False", "false")
