"""One accelerator of a cluster spec: a catalogue name, or its figures written out."""

from collections.abc import Iterator

from pydantic import Field

from costmodels.catalogue import Catalogue
from costmodels.hardware import Gpu
from planner.specs.names import matching
from planner.specs.strict import Bandwidth, Compute, Memory, Name, Strict

TOLERANCE = 1.1
"""How far above the highest known dense figure a peak may lie before it is taken for a sparse one."""


class PeakFlops(Strict):
    """Dense matrix rates by precision; leave out what the part lacks."""

    fp16: Compute | None = None
    bf16: Compute | None = None
    fp8: Compute | None = None
    fp4: Compute | None = None


class GpuSpec(Strict):
    """An accelerator written out."""

    name: Name = Field(description="what to call it, e.g. h100-sxm-80gb")
    architecture: Name = Field(description="e.g. ampere, hopper, blackwell, ada, cdna3")
    memory: Memory = Field(description="total memory, e.g. 80 GB")
    memory_bandwidth: Bandwidth = Field(description="of its memory, e.g. 3.35 TB/s")
    peak_flops: PeakFlops = Field(description="dense rates by precision, e.g. {bf16: 989 TFLOP/s}")

    def gpu(self) -> Gpu:
        peaks = self.peak_flops.model_dump(exclude_none=True)
        return Gpu(
            name=self.name,
            architecture=self.architecture.lower(),
            memory_bytes=self.memory,
            memory_bytes_per_second=self.memory_bandwidth,
            peak_flops=peaks,
        )


def sparse_peaks(gpu: Gpu, catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """(precision, what is wrong) of each peak that cannot be dense.

    A part of the catalogue is compared with its own entry, any other with the best of its
    architecture: vendors print twice the dense rate, that of 2:4 structured sparsity.
    """
    known = matching(gpu.name, catalogue.gpus)
    for precision, flops in gpu.peak_flops.items():
        own = catalogue.gpus[known].peak_flops.get(precision) if known else None
        dense = own or catalogue.dense_peak(gpu.architecture, precision)
        if dense is not None and flops > TOLERANCE * dense:
            part = known or f"the fastest {gpu.architecture} part"
            message = (
                f"{flops / 1e12:g} TFLOP/s is above the dense {precision} peak of {part}, {dense / 1e12:g} TFLOP/s; "
                f"sparse figures are twice the dense ones: write the dense one, e.g. {flops / 2e12:g} TFLOP/s"
            )
            yield precision, message
