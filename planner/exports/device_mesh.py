"""Rank tensors for torch's ``DeviceMesh`` (2.13): of the dense axes, and of the experts' where the model has any.

``device_mesh.json`` holds both with their ``mesh_dim_names``; ``device_mesh.py`` makes meshes of them. The experts'
tensor has the same ranks in every stage, counted as ``planner.plan.parallelism.Ranks`` says. Ranks are the plan's, so
the launcher has to count hosts as the plan does (``hostfile``, ``slurm``). Permuting the tensor instead would not do:
torch counts the ranks of a group in ascending order, and a rank's place in its group would not be its coordinate.
"""

import json
from typing import Any

import numpy as np

from planner.plan import Plan
from planner.plan.expand import GroupKind, axes_of

DENSE: tuple[GroupKind, ...] = ("pp", "dp", "cp", "tp")
EXPERTS: tuple[GroupKind, ...] = ("pp", "edp", "ep", "etp")

SCRIPT = '''"""Makes the DeviceMeshes of device_mesh.json, which stands beside this file."""

import json
from pathlib import Path

import torch
from torch.distributed.device_mesh import DeviceMesh


def load_mesh(which="dense", device_type="cuda"):
    """The mesh of the "dense" axes (pp, dp, cp, tp) or of the "experts" (pp, edp, ep, etp)."""
    found = json.loads(Path(__file__).with_name("device_mesh.json").read_text())[which]
    return DeviceMesh(device_type, torch.tensor(found["mesh"]), mesh_dim_names=tuple(found["mesh_dim_names"]))
'''


def files(plan: Plan) -> dict[str, str]:
    dense = dense_ranks(plan)
    sizes = plan.ranks.sizes
    document: dict[str, Any] = {"dense": {"mesh_dim_names": DENSE, "mesh": dense.tolist()}}
    if plan.model().is_moe:
        ranks = dense.reshape([sizes[axis] for axis in EXPERTS])
        document["experts"] = {"mesh_dim_names": EXPERTS, "mesh": ranks.tolist()}
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in document.items())
    return {"device_mesh.json": f"{{\n{lines}\n}}\n", "device_mesh.py": SCRIPT}


def dense_ranks(plan: Plan) -> np.typing.NDArray[np.int64]:
    """Ranks by (pp, dp, cp, tp)."""
    slowest_first = tuple(reversed(axes_of(plan.ranks.order)))
    ranks = np.arange(plan.ranks.world_size).reshape([plan.ranks.sizes[axis] for axis in slowest_first])
    return ranks.transpose([slowest_first.index(axis) for axis in DENSE])
