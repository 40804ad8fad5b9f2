"""Which host and GPU each rank runs on, and putting such a mapping into a plan."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from planner.plan.document import Plan
from planner.plan.parallelism import EXPERT_ORDERS, RankOrder, Ranks
from planner.plan.writing import seal
from planner.readers.hostlist import expand_hostlist

GpuOrder = Sequence[int]


def with_hosts(
    plan: Plan, order: str | Sequence[str], local_gpus: GpuOrder | Mapping[str, GpuOrder] | None = None
) -> Plan:
    """The plan with its ranks on these hosts, sealed anew; its prediction is not priced again.

    ``order``: a name for every node, in the order of ranks (host k holds ranks k gpus_per_node and on), as a list or
    a hostlist. ``local_gpus``: the GPU of each local rank, for all hosts or by host; None for their own order.

    ``PlanError`` for what is no host name. ``ValueError`` says what does not fit: a host too many or too few or named
    twice, an order of GPUs that is no permutation or of a host that is not there.
    """
    gpus = {host: list(row) for host, row in local_gpus.items()} if isinstance(local_gpus, Mapping) else local_gpus
    hosts = order if isinstance(order, str) else list(order)
    return _with(plan, hosts=hosts, local_gpus=list(gpus) if isinstance(gpus, Sequence) else gpus)


def with_order(plan: Plan, order: RankOrder) -> Plan:
    """The plan with its ranks counted in ``order``, experts with them, sealed anew; its prediction is not priced
    again, and is that of tp-cp-dp-pp."""
    return _with(plan, order=order, expert_order=EXPERT_ORDERS[order])


def _with(plan: Plan, **changes: Any) -> Plan:
    ranks = {**plan.ranks.model_dump(mode="json"), **changes}
    kept = {key: value for key, value in ranks.items() if value is not None}
    changed = Plan.from_json(seal({**plan.to_json(), "ranks": kept}))
    if faults := [f"ranks.{key}: {message}; here: {found}" for key, message, found in mapping_faults(changed.ranks)]:
        raise ValueError("\n".join(faults))
    return changed


def host_names(plan: Plan) -> tuple[str, ...] | None:
    """Names of the hosts in the order of ranks; None where the plan gives none."""
    return _named(plan.ranks)


def gpu_order(ranks: Ranks, host: str | None) -> tuple[int, ...]:
    """The GPU of each local rank on ``host`` (None: on a host without a name)."""
    given = ranks.local_gpus
    if isinstance(given, dict):
        given = given.get(host) if host is not None else None
    return tuple(range(ranks.gpus_per_node)) if given is None else given


def mapping_faults(ranks: Ranks) -> Iterator[tuple[str, str, object]]:
    """(key below ``ranks``, what would be right, what is there) of everything wrong with hosts and GPUs."""
    names, gpus = _named(ranks), ranks.local_gpus
    if names is not None:
        if len(names) != ranks.nodes:
            yield "hosts", f"names each of the {ranks.nodes} nodes once", f"{len(names)} names"
        if twice := sorted(name for name, count in Counter(names).items() if count > 1):
            yield "hosts", "names each host once; name every node after itself", twice
    if isinstance(gpus, dict):
        if unknown := sorted(set(gpus) - set(names or ())):
            yield "local_gpus", "names hosts of ranks.hosts alone; drop the others, or give one list for all", unknown
        rows = {f"local_gpus/{host}": row for host, row in gpus.items()}
    else:
        rows = {} if gpus is None else {"local_gpus": gpus}
    for key, row in rows.items():
        if sorted(row) != list(range(ranks.gpus_per_node)):
            yield key, f"holds each of the GPUs 0 to {ranks.gpus_per_node - 1} once, in the order of local ranks", row


def _named(ranks: Ranks) -> tuple[str, ...] | None:
    return _expanded(ranks.hosts) if isinstance(ranks.hosts, str) else ranks.hosts


@lru_cache(maxsize=8)
def _expanded(hostlist: str) -> tuple[str, ...]:
    return expand_hostlist(hostlist)
