"""Slurm's arbitrary distribution: ``SLURM_HOSTFILE`` holds one line a task, task i runs on the host of line i.

``srun.sh COMMAND ...`` starts the tasks so; SLURM_PROCID is then the rank and SLURM_LOCALID the local rank.
"""

from planner.exports.hosts import comment, named_hosts
from planner.plan import Plan


def files(plan: Plan) -> dict[str, str]:
    hosts, each = named_hosts(plan, "slurm"), plan.ranks.gpus_per_node
    notes = comment(
        plan,
        "srun.sh COMMAND ...: runs it once a rank; slurm.hostfile stands beside this file.",
        "SLURM_PROCID is the rank, SLURM_LOCALID the local rank; GPUs are those of your allocation.",
    )
    script = (
        f"#!/bin/sh\n{notes}"
        'SLURM_HOSTFILE=$(dirname "$0")/slurm.hostfile\n'
        "export SLURM_HOSTFILE\n"
        f'exec srun --nodes={len(hosts)} --ntasks={plan.ranks.world_size} --distribution=arbitrary "$@"\n'
    )
    return {"slurm.hostfile": "".join(f"{host}\n" * each for host in hosts), "srun.sh": script}
