"""Hosts with their slots in the order of ranks, as Open MPI, DeepSpeed and others read them.

One line a host, ``NAME slots=GPUS``; lines that begin with ``#`` are comments to both readers. Rank r runs on line
r // GPUS, where the launcher fills one host after the other.
"""

from planner.exports.hosts import comment, named_hosts
from planner.plan import Plan


def files(plan: Plan) -> dict[str, str]:
    hosts = named_hosts(plan, "hostfile")
    slots = plan.ranks.gpus_per_node
    notes = comment(
        plan,
        f"Hosts in the order of ranks, {slots} each: ranks 0 to {slots - 1} run on {hosts[0]}.",
        "mpirun --hostfile hostfile --map-by slot ...; deepspeed --hostfile hostfile ...",
        "torchrun: with --rdzv-backend=c10d hosts are sorted and --node-rank is ignored; use the static backend,",
        f"  --rdzv-backend=static --node-rank=LINE --master-addr={hosts[0]}, lines of hosts counted from 0",
    )
    return {"hostfile": notes + "".join(f"{host} slots={slots}\n" for host in hosts)}
