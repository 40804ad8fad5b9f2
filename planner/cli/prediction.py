"""One configuration's prediction, as text and as JSON."""

from typing import TYPE_CHECKING, Any

from planner.cli.output import gigabytes, milliseconds, percent, plain, table

if TYPE_CHECKING:
    from planner.predict import Prediction


def as_mapping(found: "Prediction") -> dict[str, Any]:
    return {
        "configuration": plain(found.configuration),
        "step_seconds": found.step_seconds,
        "tokens_per_second_per_gpu": found.tokens_per_second_per_gpu,
        "mfu": found.mfu,
        "peak_memory_bytes": found.peak_memory_bytes,
        "capacity_bytes": found.capacity_bytes,
        "feasible": found.feasible,
        "shortfall_bytes": found.shortfall_bytes,
        "boundaries": list(found.boundaries),
        "price": plain(found.price),
    }


def describe(found: "Prediction") -> str:
    """Times first, then a line a stage."""
    price, configuration = found.price, found.configuration
    fields = " ".join(f"{name}={value}" for name, value in plain(configuration).items())
    verdict = "fits" if found.feasible else f"DOES NOT FIT: {gigabytes(found.shortfall_bytes)} GB short"
    peak_line = f"{gigabytes(found.peak_memory_bytes)} of {gigabytes(found.capacity_bytes)} GB: {verdict}"
    rows = []
    for index, stage in enumerate(price.stages):
        forward = sum(chunk.forward_seconds for chunk in stage.chunks)
        backward = sum(c.input_grad_seconds + c.weight_grad_seconds + c.recompute_seconds for c in stage.chunks)
        peak = stage.memory.peak_bytes
        rows.append(
            (
                index,
                gigabytes(peak),
                gigabytes(found.capacity_bytes - peak),
                milliseconds(forward),
                milliseconds(backward),
                stage.memory.in_flight,
            )
        )
    return "\n".join(
        [
            fields,
            "",
            f"Step time    {found.step_seconds:.4g} s (modelled)",
            f"Throughput   {found.tokens_per_second_per_gpu:,.0f} tokens/s/GPU",
            f"MFU          {percent(found.mfu)}",
            f"Bubble       {percent(price.bubble_fraction)}",
            f"Peak memory  {peak_line}",
            "",
            table(("stage", "GB used", "GB free", "forward ms", "backward ms", "in flight"), rows),
        ]
    )
