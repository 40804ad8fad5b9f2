"""One configuration's prediction, as text and as JSON."""

from typing import TYPE_CHECKING, Any

from planner.cli.output import gigabytes, milliseconds, percent, plain, plus_minus, table

if TYPE_CHECKING:
    from costmodels.price import StepPrice
    from planner.plan.prediction import Intervals
    from planner.predict import Prediction
    from planner.uncertainty import Uncertainty


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
        "uncertainty": found.uncertainty.around(found.step_seconds, found.peak_memory_bytes),
        "boundaries": list(found.boundaries),
        **({"vocabulary_rows": list(found.vocabulary_rows)} if found.vocabulary_rows else {}),
        "price": plain(found.price),
    }


def describe(found: "Prediction") -> str:
    """Times first, then a line a stage."""
    price, configuration = found.price, found.configuration
    fields = " ".join(f"{name}={value}" for name, value in plain(configuration).items())
    spread = found.uncertainty
    verdict = f"DOES NOT FIT: {gigabytes(found.shortfall_bytes)} GB short"
    if found.feasible:
        certain = found.peak_memory_bytes * (1 + spread.peak_memory_bytes.share) <= found.capacity_bytes
        verdict = "fits" if certain else "fits, by less than its +-"
    used = f"{gigabytes(found.peak_memory_bytes)} of {gigabytes(found.capacity_bytes)} GB"
    peak_line = f"{used} {plus_minus(spread.peak_memory_bytes.share)}: {verdict}"
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
            f"Step time    {found.step_seconds:.4g} s {plus_minus(spread.step_seconds.share)} (modelled)",
            f"Throughput   {found.tokens_per_second_per_gpu:,.0f} tokens/s/GPU",
            f"MFU          {percent(found.mfu)}",
            f"Bubble       {percent(price.bubble_fraction)}",
            *_vocabulary(price),
            f"Peak memory  {peak_line}",
            *spread_lines(spread, "Within +-    "),
            "",
            table(("stage", "GB used", "GB free", "forward ms", "backward ms", "in flight"), rows),
        ]
    )


def spread_lines(found: "Uncertainty | Intervals", label: str) -> list[str]:
    """What the +- of a step and of a peak mean: two lines, the first after ``label``."""
    parts = (("step time", found.step_seconds), ("peak memory", found.peak_memory_bytes))
    said = [f"80 % of {s.rows} published runs ({s.kind}), {name}" for name, s in parts]
    return [f"{label}{said[0]}", f"{'':<{len(label)}}{said[1]}"]


def _vocabulary(price: "StepPrice") -> list[str]:
    """A line where the vocabulary is split over the stages."""
    seconds = [stage.vocabulary_seconds for stage in price.stages]
    if not max(seconds):
        return []
    each = f"{max(seconds):.4g} s of each"
    if min(seconds) < max(seconds):
        each = f"{min(seconds):.4g} to {max(seconds):.4g} s of a"
    return [f"Vocabulary   {each} stage's step, split over the stages"]
