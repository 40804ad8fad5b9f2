"""Which configurations exist on unlike groups of nodes, in families.

A *bundle* is a set of groups whose GPUs form pipelines together, each pipeline through all of them; bundles stand side
by side. A *family* fixes the bundles, how many pipelines dp_b each bundle b runs, and every degree of the
configuration. Its members (``planner.mixed.members``) differ in the order of a bundle's groups along the pipeline, in
how many stages stand on each, and in the micro-batches m_b that a pipeline of each bundle runs.

The stated space, unless a value is pinned:

- bundles: every partition of every subset of the groups; groups outside are left out of the job
- ``pp`` stages, the same in all bundles, and one cut: a stage's replicas reduce the same gradients. In bundle b group g
  holds n_g >= 1 of them, n_g x tp x cp x dp_b of its GPUs at the most
- dp_b: as many pipelines as fit, or the most among those that divides the global batch; ``dp`` is their sum. At most a
  quarter of a bundle's GPUs (``MOST_IDLE``) and in all only whole nodes stay idle
- m_b: any whole numbers with sum of dp_b m_b mbs = the global batch
- ``tp`` divides the NVLink domain of every group; ``cp`` divides the GPUs of some group; ``ep`` x ``etp`` divides the
  ranks that hold a stage's replicas in one bundle, so that experts and context stay on one group
- ``sp``, ``zero``, ``mbs``, ``etp`` and ``recompute`` as in ``planner.space``; one chunk a stage under 1F1B, a whole
  vocabulary

Not searched: interleaving, other schedules, split vocabularies, recompute by rules that differ from stage to stage
beside full:fit, pipelines of one bundle with unlike numbers of micro-batches, and bundles that share a group.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from costmodels.architecture import Model, Moe
from costmodels.columns import Columns
from costmodels.configuration import FOLDING, Job
from costmodels.recompute import FIT, default_levels, first_layers, of_some_layers
from planner.mixed.islands import Islands
from planner.space import (
    DEGREES,
    MICRO_BATCHES,
    MIN_CONTEXT_TOKENS,
    UNFOLDED,
    IllegalConfiguration,
    Rule,
    check_allowed,
    fixed_degrees,
    rules,
)

MOST_IDLE = 0.25
"""Of a bundle's GPUs: more of them idle would be a group left out in part."""

MOST_GROUPS = 6
"""Beyond, the partitions alone are too many to be worth listing."""

Ints = NDArray[np.int64]
Bundling = tuple[tuple[int, ...], ...]

SHAPE = ("tp", "cp", "sp", "ep", "etp", "mbs", "zero", "recompute")
"""Degrees that do not say where a rank stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Families:
    """One family a row. ``bundling`` [n]: which of ``bundlings``; ``pipelines`` [n, most bundles]: dp_b, 0 where there
    is no further bundle; ``pruned``: how many partial ones each rule removed."""

    bundlings: tuple[Bundling, ...]
    columns: Columns
    bundling: Ints
    pipelines: Ints
    pruned: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.columns)

    def bundles(self, index: int) -> Bundling:
        return self.bundlings[self.bundling[index]]

    def take(self, rows: Ints) -> "Families":
        return replace(
            self, columns=self.columns.take(rows), bundling=self.bundling[rows], pipelines=self.pipelines[rows]
        )


def bundlings(islands: Islands) -> tuple[Bundling, ...]:
    """Every partition of every non-empty subset of the groups, one of those that differ in interchangeable groups."""
    kinds, seen, found = islands.kinds(), set(), []
    for bundling in _partitions(tuple(range(len(islands.groups)))):
        key = tuple(sorted(tuple(sorted(kinds[g] for g in bundle)) for bundle in bundling))
        if bundling and key not in seen:
            seen.add(key)
            found.append(bundling)
    return tuple(found)


def _partitions(groups: tuple[int, ...]) -> Iterator[Bundling]:
    if not groups:
        yield ()
        return
    first, rest = groups[0], groups[1:]
    for partition in _partitions(rest):
        yield ((first,), *partition)
        for i, bundle in enumerate(partition):
            yield (*partition[:i], (first, *bundle), *partition[i + 1 :])
    yield from _partitions(rest)


def families(
    islands: Islands,
    model: Model,
    job: Job,
    pins: Mapping[str, int | str],
    forbid: frozenset[str],
    allow: frozenset[str],
) -> Families:
    """All families of the stated space. Raises ``IllegalConfiguration`` for pins that name no degree, or ask for what
    is not searched on unlike groups."""
    if len(islands.groups) > MOST_GROUPS:
        raise IllegalConfiguration([f"node_groups: {len(islands.groups)} unlike ones; at most {MOST_GROUPS}"])
    fixed, named = fixed_degrees(pins, forbid)
    _refuse(fixed, named, check_allowed(allow))
    levels = named or default_levels(model, job) + ((FIT,) if "recompute" in allow else ())
    domains = [group.domain_gpus for group in islands.groups]
    like = min(islands.groups, key=lambda group: group.domain_gpus)
    stated = rules(like, model, job, levels) + ([UNFOLDED] if model.is_moe and FOLDING in forbid else [])
    pruned: Counter[str] = Counter()
    shapes = _shapes(islands, model, job, fixed, len(levels), int(np.gcd.reduce(domains)))
    of_shape = [rule for rule in stated if rule.needs <= {*SHAPE} and rule.redundant not in fixed]
    _drop(shapes, of_shape, pruned)

    chosen = bundlings(islands)
    widths = {*zip(shapes["tp"].tolist(), shapes["cp"].tolist(), strict=True)}
    standing = _standings(islands, model, job, fixed, chosen, widths)
    table, pipelines = _crossed(shapes, standing, max((len(b) for b in chosen), default=1))
    keep = np.ones(len(table["tp"]), dtype=np.bool_)

    def drop(broken: NDArray[np.bool_], reason: str) -> None:
        count = int((broken & keep).sum())
        if count:
            pruned[reason] += count
            keep[broken] = False

    for rule in stated:
        if rule in of_shape or rule.redundant in fixed or rule.needs >= {"pp", "dp"} or rule.needs == {"dp", "mbs"}:
            continue  # numbers of GPUs and micro-batches have rules of their own here
        if "dp" in rule.needs and rule.redundant is None:  # what the ranks of one bundle share
            for own in pipelines.T:
                drop((own > 0) & rule.broken(table | {"dp": np.maximum(own, 1)}), rule.reason)
        else:
            drop(rule.broken(table), rule.reason)
    turns = job.global_batch // table["mbs"]
    alone = (pipelines > 0).sum(axis=1) == 1
    drop(job.global_batch % table["mbs"] != 0, f"global batch {job.global_batch} is not divisible by mbs")
    drop(alone & (turns % table["dp"] != 0), f"global batch {job.global_batch} is not divisible by dp x mbs")
    drop(turns < table["dp"], "fewer micro-batches than pipelines")
    columns = Columns(**{name: table[name][keep] for name in DEGREES}, levels=levels)
    return Families(
        bundlings=chosen,
        columns=columns,
        bundling=table["bundling"][keep],
        pipelines=pipelines[keep],
        pruned=dict(sorted(pruned.items())),
    )


def _refuse(fixed: Mapping[str, int], levels: tuple[str, ...], allowed: frozenset[str]) -> None:
    found = [
        f"{name} is not searched on unlike node groups: leave it out, or plan each group as a cluster of its own"
        for name, neutral in (("vp", 1), ("schedule", 0), ("vocabulary", 0))
        if fixed.get(name, neutral) != neutral or name in allowed
    ]
    found += [
        f"recompute={level} is not searched on unlike node groups: pin none, selective, full or full:fit"
        for level in levels
        if of_some_layers(level) and level != FIT and not first_layers(level)
    ]
    if found:
        raise IllegalConfiguration(found)


def _shapes(
    islands: Islands, model: Model, job: Job, fixed: Mapping[str, int], levels: int, domain: int
) -> dict[str, Ints]:
    """Every combination of the degrees of ``SHAPE``; the others at what they are here."""
    experts = max((k.block.experts for k in model.kinds if isinstance(k.block, Moe)), default=1)
    most = max(group.gpus for group in islands.groups)
    choices = {
        "tp": [d for d in range(1, domain + 1) if domain % d == 0],
        "cp": [
            d
            for d in range(1, most + 1)
            if any(group.gpus % d == 0 for group in islands.groups)
            and (d == 1 or job.sequence_length // d >= MIN_CONTEXT_TOKENS)
        ],
        "sp": [0, 1],
        "ep": [d for d in range(1, experts + 1) if experts % d == 0],
        "etp": [2**i for i in range(8) if 2**i <= domain] if model.is_moe else [1],
        "mbs": [m for m in MICRO_BATCHES if m <= job.global_batch],
        "zero": [0, 1, 2, 3],
        "recompute": list(range(levels)),
    }
    lists = [[fixed[name]] if name in fixed else choices[name] for name in SHAPE]
    grid = np.array(list(product(*lists)), dtype=np.int64).reshape(-1, len(SHAPE))
    return {name: grid[:, i] for i, name in enumerate(SHAPE)}


def _drop(table: dict[str, Ints], stated: list[Rule], pruned: Counter[str]) -> None:
    for rule in stated:
        broken = rule.broken(table)
        if broken.any():
            pruned[rule.reason] += int(broken.sum())
            for name in table:
                table[name] = table[name][~broken]


Standing = tuple[int, int, int, int, tuple[int, ...]]
"""Number of the bundling, tp, cp, pp, pipelines of each bundle."""


def _standings(
    islands: Islands,
    model: Model,
    job: Job,
    fixed: Mapping[str, int],
    chosen: tuple[Bundling, ...],
    widths: set[tuple[int, int]],
) -> list[Standing]:
    items = len(model.layers) + 2
    gpus = [group.gpus for group in islands.groups]
    stages = [fixed["pp"]] if "pp" in fixed else range(1, items + 1)
    found: list[Standing] = []
    for tp, cp in sorted(widths):
        room = [count // (tp * cp) for count in gpus]
        options: dict[tuple[tuple[int, ...], int], list[int]] = {}
        for number, bundling in enumerate(chosen):
            for pp in stages:
                for bundle in bundling:
                    if (bundle, pp) not in options:
                        idle = [gpus[g] / (tp * cp) for g in bundle]
                        options[bundle, pp] = _pipelines([room[g] for g in bundle], sum(idle), pp, job.global_batch)
                for own in product(*(options[bundle, pp] for bundle in bundling)):
                    total = sum(own)
                    if fixed.get("dp", total) == total and (tp * cp * pp * total) % islands.gpus_per_node == 0:
                        found.append((number, tp, cp, pp, own))
    return found


def _pipelines(room: list[int], gpus: float, stages: int, batch: int) -> list[int]:
    """How many pipelines a bundle may run: ``room`` is what each of its groups holds of stages of one replica."""
    if len(room) > stages or min(room) < 1 or sum(room) < stages:
        return []
    most = max(d for d in range(1, min(room) + 1) if sum(r // d for r in room) >= stages)
    dividing = max(d for d in range(1, most + 1) if batch % d == 0)
    return sorted({d for d in (most, dividing) if stages * d >= (1 - MOST_IDLE) * gpus})


def _crossed(shapes: dict[str, Ints], standing: list[Standing], most: int) -> tuple[dict[str, Ints], Ints]:
    """Every way to stand with every shape of the same tp and cp."""
    by_width: dict[tuple[int, int], Ints] = {}
    widths = np.stack([shapes["tp"], shapes["cp"]], axis=1)
    for width in {one[1:3] for one in standing}:
        by_width[width] = np.flatnonzero((widths == width).all(axis=1))
    rows = [by_width[one[1:3]] for one in standing]
    counts = np.array([len(row) for row in rows], dtype=np.int64)
    taken = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
    padded = [(*one[4], *(0,) * (most - len(one[4]))) for one in standing]
    pipelines = np.repeat(np.array(padded, dtype=np.int64).reshape(-1, most), counts, axis=0)
    table = {name: shapes[name][taken] for name in SHAPE}
    table["pp"] = np.repeat(np.array([one[3] for one in standing], dtype=np.int64), counts)
    table["bundling"] = np.repeat(np.array([one[0] for one in standing], dtype=np.int64), counts)
    table["dp"] = pipelines.sum(axis=1)
    neutral = {"vp": 1, "vocabulary": 0, "schedule": 0}
    table |= {name: np.full(len(taken), value, dtype=np.int64) for name, value in neutral.items()}
    return table, pipelines
