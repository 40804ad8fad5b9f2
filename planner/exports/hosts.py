"""What the launchers' files share: the hosts of a plan in the order of its ranks."""

from planner.exports.targets import ExportRefused
from planner.plan import Plan
from planner.plan.mapping import host_names

ORDERED_GPUS = (
    "local ranks take GPUs in an order of their own: export to cuda-visible-devices too, and source it in every "
    "process before CUDA starts (launchers set the variable as well)"
)


def named_hosts(plan: Plan, target: str) -> tuple[str, ...]:
    """Names in the order of ranks; ``ExportRefused`` where the plan has none."""
    names = host_names(plan)
    if names is None:
        raise ExportRefused(
            target,
            [f"hosts: the plan names none; name its {plan.ranks.nodes} nodes in their own order, --hosts 'node[1-8]'"],
        )
    return names


def comment(plan: Plan, *lines: str) -> str:
    """``lines`` as comments of a shell, and what the file leaves to another."""
    notes = [*lines, *([ORDERED_GPUS] if plan.ranks.local_gpus is not None else [])]
    return "".join(f"# {line}\n" for line in notes)
