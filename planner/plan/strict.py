"""The strictness every part of the plan document shares."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from costmodels.recompute import FULL, MODULES, NONE, SELECTIVE, modules_of


class Strict(BaseModel):
    """Unknown keys, wrong types and infinities are refused; values do not change after reading."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


Degree = Annotated[int, Field(ge=1, le=2**24)]
"""A number of ranks, stages, chunks or micro-batches: at least one."""

Index = Annotated[int, Field(ge=0, le=2**24)]
"""A position or a count that may be zero."""

Count = Annotated[int, Field(ge=0, le=2**53)]
"""A count that a double holds exactly."""

Amount = Annotated[float, Field(ge=0.0, le=1e30)]
"""Seconds, bytes, parameters, FLOPs."""

_MODULE = f"({'|'.join(MODULES)})"
_SOME_LAYERS = rf"{FULL}(:[1-9]\d{{0,5}}|:fit|/([2-9]|[1-9]\d{{1,5}}))"
_LEVEL = rf"^({NONE}|{SELECTIVE}|{FULL}|{_SOME_LAYERS}|{_MODULE}(\+{_MODULE})*)$"


def _recompute(level: str) -> str:
    modules_of(level)
    return level


RecomputeLevel = Annotated[
    str,
    AfterValidator(_recompute),
    WithJsonSchema({"type": "string", "pattern": _LEVEL}),
]
"""A level of recompute as ``costmodels.recompute`` writes it; at ``full:N`` and ``full/K`` the layers of a
chunk differ, and which are recomputed follows from where the chunk starts and ends. ``full:fit`` is a level of the
configuration alone: each stage has one of its own."""
