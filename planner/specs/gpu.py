"""One accelerator of a cluster spec: a catalogue name, or its figures written out."""

from typing import Literal

from pydantic import Field

from costmodels.catalogue import Catalogue
from costmodels.hardware import Gpu
from planner.specs.names import meant, normalised
from planner.specs.strict import Compute, Memory, Name, Strict

TOLERANCE = 1.1
"""How far above the highest known dense figure a peak may lie before it is taken for a sparse one."""


class PeakFlops(Strict):
    """Dense matrix rates by precision; absent where the part has none."""

    fp16: Compute | None = None
    bf16: Compute | None = None
    fp8: Compute | None = None
    fp4: Compute | None = None


class GpuSpec(Strict):
    """An accelerator that is not in the catalogue."""

    name: Name = Field(description="what to call it, e.g. h100-sxm-80gb")
    architecture: Name = Field(description="e.g. hopper, blackwell, ampere, ada, cdna3")
    memory: Memory = Field(description="total memory, e.g. 80 GB")
    memory_bandwidth: Memory | None = Field(default=None, exclude=True, description="replaced below")
    peak_flops: PeakFlops = Field(description="dense rates by precision, e.g. {bf16: 989 TFLOP/s}")
