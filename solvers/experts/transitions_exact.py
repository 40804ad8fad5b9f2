"""Transitions to proven optimality: a dynamic programme over all assignments, and matchings.

**Dynamic programme.** A layer has N = E! / (S!)^G equal-size assignments (2,520 for 8 experts on 4 GPUs).
Where GPUs are interchangeable (a relabelling pi with C[pi g, pi h] = C[g, h]), relabelling all layers alike
changes nothing: the best cost D_l(x) up to layer l is the same for x and pi x. Only one representative
y of each class is needed in layer l + 1, against all N assignments in layer l: N R instead of N N pairs, with
R = N / G! for a uniform C (105 for 2,520). The path is traced back by the relabelling from representative
to state.

**Matchings.** One expert per GPU and C = c (1 - I): a step keeps sum_e t[l, e, s(e)] tokens, s(e) being the
expert of layer l + 1 on the GPU of e. s is any permutation whatever x_l is (x_{l+1} = x_l after the inverse
of s), and the value depends on the permutations alone. So the steps are independent and each is a linear
assignment problem: the best is found in O(E^3) a layer. The load limit is met by all or by none, as every
GPU holds one expert.
"""

import math

import numpy as np

from solvers.experts.transitions import Floats, Integers, Transitions
from solvers.experts.transitions_chain import step_costs, within_load
from solvers.solution import Stop
from solvers.stop import StoppingRule

WORK_LIMIT = 20_000_000_000  # multiplications: some seconds
CHUNK = 1 << 20  # entries of a cost table held at a time, so that it stays in the cache


def interchangeable(cost: Floats) -> int:
    """GPUs per node if the GPUs of a node are alike, and the nodes alike (all GPUs: uniform); 0 if neither.

    Only nodes of consecutive GPUs are recognised.
    """
    gpus = len(cost)
    for per_node in range(gpus, 0, -1):
        if gpus % per_node:
            continue
        node = np.arange(gpus) // per_node
        kind = (node[:, None] == node).astype(int) + np.eye(gpus, dtype=int)
        if all(np.ptp(cost[kind == k]) == 0 for k in range(3) if (kind == k).any()):
            return per_node
    return 0


def state_counts(experts: int, gpus: int, per_node: int) -> tuple[int, int]:
    """How many assignments a layer has, and how many classes with ``interchangeable`` GPUs."""
    states = math.factorial(experts) // math.factorial(experts // gpus) ** gpus
    if not per_node:
        return states, states
    nodes = gpus // per_node
    return states, states // (math.factorial(per_node) ** nodes * math.factorial(nodes))


def enumeration_work(problem: Transitions) -> int:
    """Multiplications of ``enumerate_layers``, to be compared with ``WORK_LIMIT``."""
    states, classes = state_counts(problem.experts, problem.gpus, interchangeable(problem.cost))
    per_pair = problem.experts * problem.gpus * (1 if problem.objective == "total" else problem.gpus)
    return states * classes * per_pair * (problem.layers - 1)


def all_assignments(experts: int, gpus: int) -> Integers:
    """Every assignment with the same number of experts on each GPU, [states, experts], in lexical order."""
    states = np.zeros((1, 0), dtype=np.intp)
    room = np.full((1, gpus), experts // gpus)
    for _ in range(experts):
        row, gpu = np.nonzero(room)
        states = np.concatenate([states[row], gpu[:, None]], axis=1)
        room = room[row] - np.eye(gpus, dtype=room.dtype)[gpu]
    return states.astype(np.intp)


def representatives(states: Integers, gpus: int, per_node: int) -> tuple[Integers, Integers]:
    """Of each state the class member whose nodes, and the GPUs in each, are numbered as they first appear.

    Returns the members [states, experts] and the relabelling [states, gpus] with state = relabelling[member].
    """
    if not per_node:
        return states, np.broadcast_to(np.arange(gpus), (len(states), gpus)).astype(np.intp)
    first = np.argmax(states[:, :, None] == np.arange(gpus), axis=1)  # [states, gpus]
    nodes = first.reshape(len(states), -1, per_node)
    node_order = np.argsort(nodes.min(axis=2), axis=1)
    gpu_order = np.argsort(nodes, axis=2)
    ordered = np.take_along_axis(gpu_order, node_order[:, :, None], axis=1) + node_order[:, :, None] * per_node
    relabelling = ordered.reshape(len(states), gpus)
    back = np.argsort(relabelling, axis=1)
    return np.take_along_axis(back, states, axis=1), relabelling


def enumerate_layers(problem: Transitions, stop: StoppingRule) -> tuple[Integers | None, Stop]:
    """The best assignment [layers, experts], or None: no layer-wise assignment meets the load limits.

    Ends with ``exhausted``; with another reason (and None) where ``stop``, asked after every chunk, says so.
    """
    states = all_assignments(problem.experts, problem.gpus)
    members, relabelling = representatives(states, problem.gpus, interchangeable(problem.cost))
    classes, class_of = np.unique(members, axis=0, return_inverse=True)
    class_of = class_of.reshape(-1)
    best = within_load(problem, 0, classes)
    pointers = []
    width = max(1, CHUNK // len(states))
    chunks = 0
    for layer in range(problem.layers - 1):
        reached, pointer = np.empty(len(classes)), np.empty(len(classes), dtype=np.intp)
        distance = best[class_of]
        for begin in range(0, len(classes), width):
            if why := stop(chunks):
                return None, why
            part = slice(begin, begin + width)
            through = step_costs(problem, layer, states, classes[part])
            through += distance[:, None]
            pointer[part] = through.argmin(axis=0)
            reached[part] = through[pointer[part], np.arange(through.shape[1])]
            chunks += 1
        pointers.append(pointer)
        best = reached + within_load(problem, layer + 1, classes)
    if not np.isfinite(best.min()):
        return None, "exhausted"
    current = int(best.argmin())
    path, labels = [classes[current]], np.arange(problem.gpus)
    for pointer in reversed(pointers):
        state = int(pointer[current])
        path.append(labels[states[state]])
        labels = labels[relabelling[state]]
        current = int(class_of[state])
    return np.stack(path[::-1]).astype(np.intp), "exhausted"


def matchable(problem: Transitions) -> bool:
    """Whether ``match_layers`` is exact: one expert per GPU, GPUs alike, leaving never cheaper than staying."""
    if problem.slots != 1 or problem.objective != "total" or interchangeable(problem.cost) != problem.gpus:
        return False
    return problem.gpus == 1 or bool(problem.cost[0, 1] >= problem.cost[0, 0])


def match_layers(problem: Transitions) -> Integers:
    """The best assignment [layers, experts] where ``matchable``."""
    from scipy.optimize import linear_sum_assignment

    gpu_of_expert = np.empty((problem.layers, problem.experts), dtype=np.intp)
    gpu_of_expert[0] = np.arange(problem.experts)
    for layer, counts in enumerate(problem.counts):
        rows, columns = linear_sum_assignment(counts, maximize=True)
        gpu_of_expert[layer + 1, columns] = gpu_of_expert[layer, rows]
    return gpu_of_expert
