"""Rank tensors for torch's ``DeviceMesh`` (2.13): of the dense axes, and of the experts' where the model has any.

``device_mesh.json`` holds both with their ``mesh_dim_names``; ``device_mesh.py`` makes meshes of them. The experts'
tensor has the same ranks in every stage, counted as ``planner.plan.parallelism.Ranks`` says. Ranks are the plan's:
the launcher counts hosts as the plan does, or ``launched`` says how it did.
"""

import json
from typing import Any

import numpy as np

from planner.plan import Plan
from planner.plan.expand import GroupKind, axes_of
from planner.plan.mapping import host_names

DENSE: tuple[GroupKind, ...] = ("pp", "dp", "cp", "tp")
EXPERTS: tuple[GroupKind, ...] = ("pp", "edp", "ep", "etp")

SCRIPT = '''"""Makes the DeviceMeshes of device_mesh.json, which stands beside this file."""

import json
from pathlib import Path

import torch
from torch.distributed.device_mesh import DeviceMesh


def load_mesh(which="dense", device_type="cuda", launched=None):
    """The mesh of the "dense" axes (pp, dp, cp, tp) or of the "experts" (pp, edp, ep, etp).

    launched: the plan's hosts in the order in which the launcher counted them, e.g. sorted, as torchrun's c10d
    rendezvous does; None where it kept the plan's order.
    """
    document = json.loads(Path(__file__).with_name("device_mesh.json").read_text())
    ranks = torch.tensor(document[which]["mesh"])
    if launched is not None:
        each = document["gpus_per_node"]
        position = torch.tensor([list(launched).index(host) for host in document["hosts"]])
        ranks = position[ranks // each] * each + ranks % each
    return DeviceMesh(device_type, ranks, mesh_dim_names=tuple(document[which]["mesh_dim_names"]))
'''


def files(plan: Plan) -> dict[str, str]:
    dense = dense_ranks(plan)
    sizes, hosts = plan.ranks.sizes, host_names(plan.ranks)
    document: dict[str, Any] = {"dense": {"mesh_dim_names": DENSE, "mesh": dense.tolist()}}
    if plan.model().is_moe:
        ranks = dense.reshape([sizes[axis] for axis in EXPERTS])
        document["experts"] = {"mesh_dim_names": EXPERTS, "mesh": ranks.tolist()}
    document |= {"gpus_per_node": plan.ranks.gpus_per_node, **({"hosts": hosts} if hosts else {})}
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in document.items())
    return {"device_mesh.json": f"{{\n{lines}\n}}\n", "device_mesh.py": SCRIPT}


def dense_ranks(plan: Plan) -> np.typing.NDArray[np.int64]:
    """Ranks by (pp, dp, cp, tp)."""
    slowest_first = tuple(reversed(axes_of(plan.ranks.order)))
    ranks = np.arange(plan.ranks.world_size).reshape([plan.ranks.sizes[axis] for axis in slowest_first])
    return ranks.transpose([slowest_first.index(axis) for axis in DENSE])
