"""The prediction's arithmetic: sums, rates, utilisation and peaks follow from the other figures."""

from costmodels.flops import model_flops
from planner.plan import Plan
from planner.uncertainty import Spread, facets, kinds
from planner.validate.findings import Report


def check_prediction(plan: Plan, report: Report) -> None:
    figures, path = plan.prediction, "/prediction"
    job, cluster = plan.job(), plan.cluster()
    parts = (
        figures.pipeline_seconds
        + figures.gradient_seconds
        + figures.optimizer_seconds
        + figures.parameter_seconds
        + figures.overhead_seconds
    )
    report.same("prediction.sum", f"{path}/step_seconds", figures.step_seconds, parts, "sum of its five parts")
    flops = model_flops(plan.model(), job)
    report.same(
        "prediction.flops",
        f"{path}/model_flops_per_step",
        figures.model_flops_per_step,
        flops,
        "by the stated convention",
    )
    if figures.step_seconds > 0:
        rate = job.tokens / figures.step_seconds
        used = flops / figures.step_seconds / cluster.gpus / plan.peak_flops()
        expected = {"tokens_per_second": rate, "tokens_per_second_per_gpu": rate / cluster.gpus, "mfu": used}
        report.same_fields("prediction.rates", path, figures.model_dump(), expected, "follows from the step time")
        report.require(figures.mfu < 1.0, "prediction.rates", f"{path}/mfu", "no machine exceeds its peak", figures.mfu)
    if figures.pipeline_seconds > 0 and plan.stages:
        busy = sum(stage.busy_seconds for stage in plan.stages) / len(plan.stages)
        report.require(
            abs(1.0 - busy / figures.pipeline_seconds - figures.bubble_fraction) <= 1e-9,
            "prediction.bubble",
            f"{path}/bubble_fraction",
            f"mean idle share of the pipeline is {1.0 - busy / figures.pipeline_seconds!r}",
            figures.bubble_fraction,
        )
    peaks = [stage.memory.peak_bytes for stage in plan.stages]
    if peaks:
        report.same(
            "prediction.peak",
            f"{path}/peak_memory_bytes",
            figures.peak_memory_bytes,
            max(peaks),
            "largest peak of a stage",
        )
        report.same(
            "prediction.peak",
            f"{path}/peak_memory_stage",
            figures.peak_memory_stage,
            peaks.index(max(peaks)),
            "first stage with the largest peak",
        )
    check_uncertainty(plan, report)


def check_uncertainty(plan: Plan, report: Report) -> None:
    """The intervals follow from the figures they are around, and their kind is one the plan is of.

    The shares themselves are of the release that wrote the plan: residuals of published runs, not figures
    that the plan's inputs lead to.
    """
    figures = plan.prediction
    own = list(kinds(facets(plan.cluster(), plan.model(), plan.job())))
    for name, value in (("step_seconds", figures.step_seconds), ("peak_memory_bytes", figures.peak_memory_bytes)):
        interval, path = getattr(figures.uncertainty, name), f"/prediction/uncertainty/{name}"
        spread = Spread(kind=interval.kind, share=interval.share, sources=interval.sources)
        rule, expected = "prediction.uncertainty", spread.around(value)
        report.same_fields(rule, path, interval.model_dump(), expected, "follows from figure, share and sources")
        report.require(interval.kind in own, rule, f"{path}/kind", f"is none of {'; '.join(own)}", interval.kind)
