"""Small grid problems with every option, and clusters of leaves and spines."""

from typing import Literal

import numpy as np

from solvers.mapping.problem import Blocks, Floats, GridProblem, SharedLink, training_grid

SHAPES = ((1, 6), (6, 1), (2, 3), (3, 2), (2, 2), (4, 2), (2, 4), (3, 1), (1, 1), (7, 1), (1, 8))


def links(generator: np.random.Generator, hosts: int) -> Floats:
    """Bytes per second, unlike or of few levels, alike in both directions or not."""
    kind = generator.integers(3)
    if kind == 0:
        table = generator.uniform(5e9, 25e9, (hosts, hosts))
    elif kind == 1:
        table = generator.choice([5e9, 10e9, 20e9], (hosts, hosts))
    else:
        leaf = np.arange(hosts) // 2
        table = np.where(leaf[:, None] == leaf[None, :], 50e9, 12.5e9)
    return table if generator.random() < 0.3 else np.minimum(table, table.T)


def random_problem(seed: int) -> GridProblem:
    """At most 8 places or 7 hosts with spare ones, so that all orders can be tried."""
    generator = np.random.default_rng(seed)
    n, p = SHAPES[generator.integers(len(SHAPES))]
    spare = int(generator.integers(0, 3)) if n * p <= 6 else 0
    hosts = n * p + spare
    objective: Literal["step", "pipette"] = "step" if seed % 2 else "pipette"
    more: dict[str, object] = {}
    if generator.random() < 0.3:
        more["latency"] = generator.uniform(1e-6, 3e-3, (hosts, hosts))
    if generator.random() < 0.35:
        members = generator.permutation(hosts)
        cut = int(generator.integers(1, hosts)) if hosts > 1 else 1
        groups = [members[:cut]] if generator.random() < 0.5 else [members[:cut], members[cut // 2 :]]
        more["shared"] = tuple(
            SharedLink(members=tuple(int(h) for h in group), bytes_per_second=float(generator.uniform(8e9, 40e9)))
            for group in groups
        )
    if generator.random() < 0.2:
        size = int(generator.choice([b for b in range(1, n + 1) if n % b == 0]))
        kind: Literal["all-to-all", "ring"] = "ring" if generator.random() < 0.5 else "all-to-all"
        more["blocks"] = Blocks(size=size, bytes_per_column=tuple(generator.uniform(0, 1e8, p).tolist()), kind=kind)
    if generator.random() < 0.2:
        place = int(generator.integers(n)), int(generator.integers(p))
        more["fixed"] = {place: int(generator.integers(hosts))}
    if spare and generator.random() < 0.3:
        free = [h for h in range(hosts) if h not in dict(more.get("fixed", {})).values()]  # type: ignore[call-overload]
        more["excluded"] = frozenset({int(generator.choice(free))})
    problem = training_grid(
        objective,
        bandwidth=links(generator, hosts),
        stages=p,
        rows=n,
        pipeline_bytes=5e7,
        data_parallel_bytes=float(generator.choice([0.0, 1e8, 6e8])),
        microbatches=int(generator.integers(1, 33)),
        **more,
    )
    return problem if generator.random() < 0.7 else unlike_columns(problem, generator)


def unlike_columns(problem: GridProblem, generator: np.random.Generator) -> GridProblem:
    """With its own figures for every edge and column."""
    from dataclasses import replace

    p = problem.columns
    return replace(
        problem,
        edge_bytes=tuple((generator.uniform(0, 2, p - 1) * 1e8).tolist()),
        ring_bytes=tuple((generator.uniform(0, 2, p) * 3e8).tolist()),
        ring_offset=tuple((generator.uniform(0, 1, p) * 3e-2).tolist()),
        counted=tuple((generator.random(p) < 0.7).tolist()),
    )


def clustered_problem(seed: int) -> GridProblem:
    """At most 8 places on two or three leaves, some links slow; any columns counted, with offsets of their own."""
    generator = np.random.default_rng(seed)
    n, p = ((2, 4), (4, 2), (2, 3), (3, 2), (1, 6), (2, 2))[generator.integers(6)]
    hosts = n * p + (int(generator.integers(2)) if n * p <= 6 else 0)
    leaf = generator.integers(0, generator.integers(2, 4), hosts)
    slow = generator.random((hosts, hosts)) < generator.choice([0.0, 0.2])
    table = np.where(leaf[:, None] == leaf[None, :], 50e9, 12.5e9)
    return GridProblem(
        rows=n,
        columns=p,
        bandwidth=table * np.where(slow, generator.uniform(0.2, 0.9, (hosts, hosts)), 1.0),
        edge_bytes=(1e8,) * (p - 1),
        ring_bytes=(float(generator.choice([1e7, 1e8, 1e9])),) * p,
        ring_offset=tuple(generator.uniform(0, 0.01, p).tolist()) if generator.random() < 0.5 else (),
        counted=tuple((generator.random(p) < 0.5).tolist()),
    )


def leaves(hosts: int, leaf: int, *, oversubscription: float, degraded: float, seed: int) -> Floats:
    """Bytes per second of hosts with 400 Gb/s each on leaves of ``leaf``, between leaves ``oversubscription`` times
    less, and of a share ``degraded`` of all links a fifth to four fifths."""
    generator = np.random.default_rng(seed)
    of = np.arange(hosts) // leaf
    table = np.where(of[:, None] == of[None, :], 50e9, 50e9 / oversubscription)
    slow = np.where(generator.random((hosts, hosts)) < degraded, generator.uniform(0.2, 0.8, (hosts, hosts)), 1.0)
    slow = np.triu(slow, 1)
    table = table * np.where(slow + slow.T > 0, slow + slow.T, 1.0)
    names = generator.permutation(hosts)  # hosts are listed in no order of leaves
    return np.asarray(table[np.ix_(names, names)])
