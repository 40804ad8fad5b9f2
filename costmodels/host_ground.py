"""The ground of a configuration whose ranks fill hosts in a given order."""

from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from costmodels.configuration import Configuration, Job
from costmodels.ground import Ground, PipelineRow, covered
from costmodels.hardware import Cluster, Link
from costmodels.host_grid import HostGrid
from costmodels.host_network import Floats, HostNetwork

Order = NDArray[np.int64]


def ground_on_hosts(
    cluster: Cluster, network: HostNetwork, configuration: Configuration, job: Job, grid: HostGrid, order: Order
) -> Ground:
    """What ``configuration`` stands on with host ``order[r, c]`` in row r and column c of its ``grid``.

    All hand-overs between stages run at once, and so do all rings of a stage's replicas, and all exchanges inside
    groups; each GPU has an equal share of its host's part. A ring is as fast as its slowest link; rows that another
    covers are counted with it (``costmodels.ground.covered``).
    """
    rates, waits = _edges(network, grid, order, configuration)
    states = [_ring(network, grid, order, column, configuration) for column in _columns(grid, configuration)]
    machines, standing = _machines(cluster, network, grid, order, configuration)
    per_row = grid.spanned
    rows = Counter[PipelineRow]()
    for first in range(0, grid.rows, per_row):
        some = slice(first, first + per_row)
        edges = tuple(
            Link(bytes_per_second=rate, latency_seconds=wait)
            for rate, wait in zip(rates[some].min(axis=0).tolist(), waits[some].max(axis=0).tolist(), strict=True)
        )
        row = PipelineRow(
            replicas=1,
            microbatches=configuration.microbatches(job.global_batch),
            machines=standing[first // grid.group],
            edges=edges,
        )
        rows[row] += max(1, grid.pipelines * per_row // grid.rows)
    counted = tuple(replace(row, replicas=count) for row, count in rows.items())
    return covered(Ground(machines=machines, states=tuple(states), rows=counted))


def _columns(grid: HostGrid, configuration: Configuration) -> list[int]:
    """[pp]: the column of each stage."""
    return [stage // grid.stages_per_host for stage in range(configuration.pp)]


def _edges(network: HostNetwork, grid: HostGrid, order: Order, configuration: Configuration) -> tuple[Floats, Floats]:
    """One GPU's share and latency of the edges of each row, [rows, edges]; inside a host what it has to any other."""
    columns = np.array(_columns(grid, configuration))
    here, there = columns[:-1], columns[1:]
    if configuration.vp > 1:
        here, there = columns, np.roll(columns, -1)
    senders, receivers = order[:, here], order[:, there]
    apart = senders != receivers
    rates = np.full(senders.shape, float(network.cards.max()))
    rates[apart] = network.together(senders[apart], receivers[apart])
    return rates / grid.host_gpus, network.latency[senders, receivers]


def _ring(network: HostNetwork, grid: HostGrid, order: Order, column: int, configuration: Configuration) -> Link:
    """What carries the states of a column's stages: the slowest of the links round its rows, and round every
    ``group``-th of them where experts are replicated apart, all columns at once."""
    worst, wait = float(network.cards.max()), 0.0
    steps = {1, grid.group} if grid.exchanges else {1}
    for step in steps:
        if grid.rows // step > 1:
            following = np.roll(order, -step, axis=0)
            rates = network.together(order, following)[:, column]
            worst = min(worst, float(rates.min()))
            wait = max(wait, float(network.latency[order[:, column], following[:, column]].max()))
    return Link(bytes_per_second=worst / grid.host_gpus, latency_seconds=wait)


def _machines(
    cluster: Cluster, network: HostNetwork, grid: HostGrid, order: Order, configuration: Configuration
) -> tuple[tuple[Cluster, ...], list[tuple[int, ...]]]:
    """The distinct machines, and which of them each stage stands on, for every group of rows."""
    plain = replace(cluster, topology=None)
    if grid.group == 1:
        return (plain,), [(0,) * configuration.pp] * grid.rows
    size, count = grid.group, grid.rows // grid.group
    blocks = order.reshape(count, size, grid.columns)
    if grid.exchanges:
        a, b = (index.ravel() for index in np.nonzero(~np.eye(size, dtype=np.bool_)))
        rates = (size - 1) * network.together(blocks[:, a], blocks[:, b]).min(axis=1)
        rates = np.minimum(rates, network.cards[blocks].min(axis=1))
        waits = network.latency[blocks[:, a], blocks[:, b]].max(axis=1)
    else:
        following = np.roll(blocks, -1, axis=1)
        rates = network.together(blocks, following).min(axis=1)
        waits = network.latency[blocks, following].max(axis=1)
    links = np.stack([rates / grid.host_gpus, waits], axis=-1)
    distinct, where = np.unique(links.reshape(-1, 2), axis=0, return_inverse=True)
    machines = tuple(
        replace(plain, scale_out=Link(bytes_per_second=rate, latency_seconds=wait)) for rate, wait in distinct.tolist()
    )
    table = where.reshape(count, grid.columns)
    return machines, [tuple(int(k) for k in table[i]) for i in range(count)]
