"""Open MPI's rankfile: ``rank N=HOST slot=CORE`` for every rank.

The format has no line without a slot, and a slot is a processor core that the rank is bound to: local rank l gets
core l. ``hostfile`` gives the same order of ranks without binding.
"""

from planner.exports.hosts import comment, named_hosts
from planner.plan import Plan


def files(plan: Plan) -> dict[str, str]:
    hosts, each = named_hosts(plan, "openmpi-rankfile"), plan.ranks.gpus_per_node
    notes = comment(
        plan,
        f"mpirun -np {plan.ranks.world_size} --rankfile rankfile ...",
        "A slot is the processor core a rank is bound to, here its local rank: widen it to cores beside its GPU,",
        "  e.g. slot=0:0-7 (socket 0, cores 0 to 7), or use a hostfile with --map-by slot --bind-to none.",
    )
    lines = (f"rank {rank}={hosts[rank // each]} slot={rank % each}\n" for rank in range(plan.ranks.world_size))
    return {"rankfile": notes + "".join(lines)}
