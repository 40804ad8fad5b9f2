"""The level of recompute that a row states."""

import re
from collections.abc import Sequence
from typing import Any

from costmodels.configuration import Recompute
from costmodels.recompute import FULL, MODULES, NONE, SELECTIVE, canonical, level_of
from planner.readers.published.cells import text
from planner.readers.published.table import Cells

LIST = re.compile(r"\[([^\]]*)\]")
NUMBER_OF_LAYERS = re.compile(r"num.layers\W{0,3}(\d{1,6})")
EVERY_KTH = re.compile(r"every ([1-9]\d{0,5})(?:st|nd|rd|th)? layer|selective_ac_option\W{0,3}([1-9]\d{0,5})")
EVERY_OTHER = re.compile(r"selective\W{0,2}layer|layer\W{0,2}selective|every other layer")
"""torchtitan's selective activation checkpointing by layer wraps every second one unless told otherwise."""

SELECTIVE_OPERATORS = "selective op"
"""torchtitan's: every second matrix product is redone and what is cheap, about half a layer, as a
feed-forward block is."""


def levels_of(cells: Cells, extra: dict[str, Any], layers: int, assumptions: list[str]) -> Sequence[Recompute]:
    """One level for a model of ``layers``, or none where the row does not print it."""
    printed, detail = text(cells, "recompute").lower(), text(cells, "recompute_detail")
    if period := _period(f"{printed} {detail.lower()}"):
        return (canonical(f"{FULL}/{period}"),)
    if printed.startswith("full"):
        return (_full(printed, detail.lower(), extra, layers, assumptions),)
    if printed == "selective" and detail.startswith(SELECTIVE_OPERATORS):
        assumptions.append(f"{SELECTIVE_OPERATORS} priced as the feed-forward blocks redone")
        return (level_of(["mlp"]),)
    if printed == "selective":
        modules = _modules(str(extra.get("recompute-modules") or detail))
        unknown = sorted(modules - set(MODULES))
        if unknown:
            assumptions.append(f"recompute of {', '.join(unknown)} priced as none")
        return (level_of(modules & set(MODULES)) if modules else SELECTIVE,)
    if printed == "none":
        return (NONE,)
    assumptions.append(f"recompute {printed or 'not printed'}: the fastest that fits")
    return ()


def _period(said: str) -> int:
    """K of every K-th layer; 0 where that is not said."""
    if counted := EVERY_KTH.search(said):
        return int(counted[1] or counted[2])
    return 2 if EVERY_OTHER.search(said) else 0


def _full(printed: str, detail: str, extra: dict[str, Any], layers: int, assumptions: list[str]) -> Recompute:
    """Megatron's two methods: ``block`` recomputes the first layers of each chunk, ``uniform`` all in
    groups that keep one input."""
    counted = NUMBER_OF_LAYERS.search(detail)
    stated = str(extra.get("recompute-num-layers", counted[1] if counted else ""))
    number = int(stated) if re.fullmatch(r"\d{1,6}", stated) else 0
    method = f"{printed} {detail} {extra.get('recompute-method', '')}"
    if "block" not in method:
        if number > 1:
            assumptions.append(f"recompute in groups of {number} layers priced as of single ones")
        return FULL
    if not number:
        assumptions.append(f"recompute of some layers ({detail or 'block'}) priced as full")
    return f"{FULL}:{number}" if 0 < number < layers else FULL


def _modules(detail: str) -> set[str]:
    """The names in ``modules=["moe_act", "mlp"]`` or ``[moe_act mlp]``; empty when none are listed."""
    listed = LIST.search(detail)
    return set(re.findall(r"\w+", listed[1])) if listed else set()
