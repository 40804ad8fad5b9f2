"""``CUDA_VISIBLE_DEVICES`` of every host: local rank l sees its GPU as device l.

``cuda_visible_devices.json`` holds the order of GPUs of each host that has its own, and the default of all others;
``cuda_visible_devices.sh`` is to be sourced on a host before CUDA starts. A host goes by its name or the first part
of it.
"""

import json
from collections.abc import Mapping, Sequence

from planner.plan import Plan
from planner.plan.mapping import gpu_order


def files(plan: Plan) -> dict[str, str]:
    default, given = _row(gpu_order(plan.ranks, None)), plan.ranks.local_gpus
    hosts = {host: _row(row) for host, row in given.items()} if isinstance(given, dict) else {}
    return {
        "cuda_visible_devices.sh": _script(default, hosts),
        "cuda_visible_devices.json": json.dumps({"default": default, "hosts": hosts}, indent=2) + "\n",
    }


def _row(gpus: Sequence[int]) -> str:
    return ",".join(map(str, gpus))


def _script(default: str, hosts: Mapping[str, str]) -> str:
    """Sets and exports the variable for the host it runs on; $1, where given, is taken for its name."""
    arms = "".join(f"  {host} | {host}.*) CUDA_VISIBLE_DEVICES={row} ;;\n" for host, row in hosts.items())
    return (
        "# . cuda_visible_devices.sh [HOST]: local rank l sees its GPU as device l\n"
        'case "${1:-$(hostname)}" in\n'
        f"{arms}  *) CUDA_VISIBLE_DEVICES={default} ;;\n"
        "esac\n"
        "export CUDA_VISIBLE_DEVICES\n"
    )
