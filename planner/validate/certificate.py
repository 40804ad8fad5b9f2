"""The certificate: its own arithmetic, and every alternative legal, in order and priced anew."""

from itertools import pairwise

from costmodels.configuration import Configuration
from costmodels.hardware import Cluster
from planner.plan import Alternative, Plan
from planner.plan.certificate import EVERY_CUT, PROVEN_GAP, scope
from planner.plan.ground import PROOF
from planner.validate.findings import Report
from planner.validate.legality import breaches, option_breaches
from planner.validate.prices import price_again
from planner.validate.structure import check_rows, vocabulary_share

PATH = "/certificate"


def check_certificate(plan: Plan, report: Report) -> None:
    certificate = plan.certificate
    value, bound = certificate.value, certificate.lower_bound
    report.same("certificate.value", f"{PATH}/value", value, plan.prediction.step_seconds, "the plan's own objective")
    report.require(
        0 < bound <= value,
        "certificate.bound",
        f"{PATH}/lower_bound",
        f"is positive and at most the value {value!r}",
        bound,
    )
    gap = (value - bound) / value if value > 0 else 0.0
    report.require(
        abs(certificate.gap - gap) <= 1e-12,
        "certificate.gap",
        f"{PATH}/gap",
        f"(value - bound) / value is {gap!r}",
        certificate.gap,
    )
    proven = gap <= plan.inputs.options.gap
    report.same(
        "certificate.status",
        f"{PATH}/status",
        certificate.status,
        "optimal" if proven else "feasible",
        f"optimal exactly when the gap is within {plan.inputs.options.gap}",
    )
    report.require(bool(certificate.method.strip()), "certificate.method", f"{PATH}/method", "says nothing")
    _check_partition(plan, report)
    _check_order(plan, report)
    held = PROOF[plan.ground.kind] if plan.ground is not None else ""
    expected = scope(plan.inputs.options, certificate.cuts, plan.experts is not None, held)
    report.same("certificate.scope", f"{PATH}/scope", certificate.scope, expected, "what the options asked for")
    _check_counts(plan, report)
    _check_alternatives(plan, report)


def _check_partition(plan: Plan, report: Report) -> None:
    """The proof of the plan's own cut: its arithmetic, and that a proof over every cut covers it."""
    proof, path, value = plan.certificate.partition, f"{PATH}/partition", plan.certificate.value
    report.require(
        proof.lower_bound <= value, "partition.bound", f"{path}/lower_bound", f"is at most {value!r}", proof.lower_bound
    )
    gap = (value - proof.lower_bound) / value if value > 0 else 0.0
    report.require(
        abs(proof.gap - gap) <= 1e-12, "partition.gap", f"{path}/gap", f"(value - bound) / value is {gap!r}", proof.gap
    )
    status = "feasible" if proof.gap else "optimal"
    report.same("partition.status", f"{path}/status", proof.status, status, "optimal exactly when there is no gap")
    report.require(
        plan.certificate.cuts != EVERY_CUT or proof.lower_bound >= plan.certificate.lower_bound,
        "partition.bound",
        f"{path}/lower_bound",
        "a bound over every cut of all configurations holds for this one",
        proof.lower_bound,
    )


def _check_order(plan: Plan, report: Report) -> None:
    """The proof of an order made for the plan: there just where one was made, and its arithmetic."""
    proof, path = plan.certificate.schedule, f"{PATH}/schedule"
    made = plan.parallelism.schedule == "best"
    report.require((proof is not None) == made, "schedule.proof", path, "stands just where schedule is best")
    if proof is None:
        return
    value, bound = plan.prediction.pipeline_seconds, proof.lower_bound_seconds
    report.same("schedule.proof", f"{path}/pipeline_seconds", proof.pipeline_seconds, value, "the plan's pipeline")
    report.require(
        0 < bound <= value * (1 + 1e-12),
        "schedule.bound",
        f"{path}/lower_bound_seconds",
        f"is positive and at most {value!r}",
        bound,
    )
    gap = (value - bound) / value if value > 0 else 0.0
    report.require(
        abs(proof.gap - gap) <= 1e-12, "schedule.gap", f"{path}/gap", f"(value - bound) / value is {gap!r}", proof.gap
    )
    status = "optimal" if gap <= PROVEN_GAP else "feasible"
    report.same("schedule.status", f"{path}/status", proof.status, status, f"proven is a gap of at most {PROVEN_GAP:g}")


def _check_counts(plan: Plan, report: Report) -> None:
    searched, pruned = plan.certificate.searched, plan.certificate.pruned
    path = f"{PATH}/searched"
    handled = searched.evaluated + searched.infeasible + searched.cut_by_bound + searched.open
    report.same(
        "certificate.counts",
        f"{path}/candidates",
        searched.candidates,
        handled,
        "every candidate is accounted for once",
    )
    report.same(
        "certificate.counts",
        f"{path}/considered",
        searched.considered,
        searched.candidates + sum(pruned.values()),
        "candidates and everything pruned",
    )
    report.require(
        searched.evaluated <= searched.refined <= searched.candidates,
        "certificate.counts",
        f"{path}/refined",
        "a candidate is refined before it is evaluated, and once",
        searched.refined,
    )
    report.same(
        "certificate.counts",
        f"{path}/ranked",
        searched.ranked,
        1 + len(plan.certificate.alternatives),
        "the plan and its alternatives",
    )
    report.require(
        searched.evaluated >= searched.ranked,
        "certificate.counts",
        f"{path}/evaluated",
        "the plan and its alternatives were evaluated",
        searched.evaluated,
    )
    report.require(
        searched.open == 0 or plan.certificate.gap > 0 or plan.certificate.status == "feasible",
        "certificate.counts",
        f"{path}/open",
        "a search without a gap leaves nothing open",
        searched.open,
    )
    for reason, count in pruned.items():
        report.require(
            count > 0 and bool(reason), "certificate.pruned", f"{PATH}/pruned", "a reason that pruned nothing", reason
        )


def _check_alternatives(plan: Plan, report: Report) -> None:
    alternatives = plan.certificate.alternatives
    chosen = [plan.configuration()]
    for index, alternative in enumerate(alternatives):
        path = f"{PATH}/alternatives/{index}"
        configuration = alternative.configuration()
        report.require(
            configuration not in chosen, "alternatives.distinct", path, "the same configuration stands before it"
        )
        chosen.append(configuration)
        cluster = _cluster_of(plan, configuration)
        found = [*breaches(cluster, plan.model(), plan.job(), configuration, even=plan.ground is None)]
        found += option_breaches(plan.inputs.options, plan.model(), configuration)
        for name, message in dict.fromkeys(found):
            report.add("alternatives.legal", f"{path}/{name}", message, found=getattr(configuration, name))
        legal = not found and _check_cut(plan, alternative, path, report)
        legal = legal and _check_rows(plan, alternative, path, report)
        _check_figures(plan, alternative, path, report)
        if legal and plan.ground is None:  # an alternative stands on ground of its own, which is not written down
            _check_price(plan, alternative, path, report)
    for index, (faster, slower) in enumerate(pairwise(alternatives)):
        report.require(
            faster.step_seconds <= slower.step_seconds,
            "alternatives.order",
            f"{PATH}/alternatives/{index + 1}/step_seconds",
            "alternatives are written fastest first",
            slower.step_seconds,
        )


def _cluster_of(plan: Plan, configuration: Configuration) -> Cluster:
    """The plan's; on unlike groups one with as many nodes as ``configuration`` needs, for it may leave some out."""
    cluster = plan.cluster()
    if plan.ground is None or plan.ground.kind != "groups":
        return cluster
    return cluster.resized(max(1, configuration.gpus // cluster.gpus_per_node))


def _check_cut(plan: Plan, alternative: Alternative, path: str, report: Report) -> bool:
    """Chunks of at least one piece each over the whole chain, prediction layers beside the head."""
    model, cut = plan.model(), alternative.boundaries
    pieces = len(model.layers) + len(model.mtp_layers) + 2
    whole = (
        len(cut) == alternative.pp * alternative.vp + 1
        and cut[0] == 0
        and cut[-1] == pieces
        and all(a < b for a, b in pairwise(cut))
        and cut[-2] <= len(model.layers) + 1
    )
    report.require(
        whole, "alternatives.cut", f"{path}/boundaries", f"cuts a chain of {pieces} into pp x vp chunks", list(cut)
    )
    return whole


def _check_rows(plan: Plan, alternative: Alternative, path: str, report: Report) -> bool:
    """Uneven shares of a vocabulary: where stages may have them, one a stage, covering it."""
    rows, path = alternative.vocabulary_rows, f"{path}/vocabulary_rows"
    if rows is None:
        return True
    may = alternative.vocabulary in ("vocab-1", "vocab-2") and len(rows) == alternative.pp
    report.require(
        may, "alternatives.vocabulary", path, "one figure a stage, of vocab-1 or vocab-2; else absent", list(rows)
    )
    if may:
        even = vocabulary_share(plan.model().vocabulary, alternative.configuration())
        check_rows(rows, even, "alternatives.vocabulary", path, report)
    return may


def _check_figures(plan: Plan, alternative: Alternative, path: str, report: Report) -> None:
    value, cluster = plan.certificate.value, plan.cluster()
    report.require(
        alternative.step_seconds >= value,
        "alternatives.slower",
        f"{path}/step_seconds",
        f"is better than the plan's own {value!r}",
        alternative.step_seconds,
    )
    slower_by = alternative.step_seconds / value - 1.0 if value > 0 else 0.0
    report.require(
        abs(alternative.slower_by - slower_by) <= 1e-12,
        "alternatives.slower",
        f"{path}/slower_by",
        f"step over the plan's, less 1, is {slower_by!r}",
        alternative.slower_by,
    )
    elsewhere = plan.ground is not None and plan.ground.kind == "groups"  # perhaps on GPUs that the plan leaves out
    report.require(
        elsewhere or alternative.peak_memory_bytes <= cluster.capacity_bytes,
        "alternatives.fits",
        f"{path}/peak_memory_bytes",
        "exceeds the GPU's memory less the reserve",
        alternative.peak_memory_bytes,
    )
    report.require(bool(alternative.reason.strip()), "alternatives.reason", f"{path}/reason", "says nothing")


def _check_price(plan: Plan, alternative: Alternative, path: str, report: Report) -> None:
    price = price_again(
        plan,
        alternative.configuration(),
        alternative.boundaries,
        path,
        report,
        vocabulary_rows=alternative.vocabulary_rows,
    )
    if price is None:
        return
    expected = {"step_seconds": price.step_seconds, "peak_memory_bytes": price.peak_bytes}
    report.same_fields("alternatives.price", path, alternative.model_dump(), expected, "as priced anew")
