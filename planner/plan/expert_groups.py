"""How the experts of a plan lie over the ranks of a stage."""

from dataclasses import dataclass

from costmodels.groups import group_shape
from planner.plan.document import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertGroups:
    """Experts over groups of ``ep`` ranks, each expert cut over ``etp``, in ``edp`` replicas; ``folded`` over other
    groups than the attention's own (``costmodels.configuration.Configuration.folded``). ``domains``: NVLink domains
    that the worst-placed group spans, None where the order of ranks or hosts does not say."""

    ep: int
    etp: int
    edp: int
    folded: bool
    domains: int | None


def expert_groups(plan: Plan) -> ExpertGroups | None:
    """Of a plan for a mixture of experts; None for a dense model.

    The ranks of an expert group stand ``etp`` apart among those of a stage, which follow each other in the order
    tp-cp-dp-pp alone; NVLink domains of several hosts are known where hosts stand in the cluster's own order,
    none where nodes are unlike.
    """
    degrees, ranks, cluster = plan.parallelism, plan.ranks, plan.cluster()
    if not plan.model().is_moe:
        return None
    alike = plan.ground is None or plan.ground.kind != "groups"
    in_order = ranks.hosts is None or cluster.domain_gpus <= ranks.gpus_per_node
    known = alike and in_order and ranks.order == "tp-cp-dp-pp"
    domains = int(group_shape(degrees.ep, degrees.etp, cluster.domain_gpus).domains) if known else None
    return ExpertGroups(
        ep=degrees.ep,
        etp=degrees.etp,
        edp=degrees.edp,
        folded=plan.configuration().folded,
        domains=domains,
    )
