"""Pipelines the slow, obvious way: the orders as loops, the clock by scanning until nothing moves."""

from collections.abc import Sequence

Operation = tuple[str, int, int]  # kind, chunk, micro-batch


def one_forward_one_backward(stages: int, microbatches: int) -> list[list[Operation]]:
    """1F1B written as PipeDream-flush describes it: fill, alternate, drain."""
    rows = []
    for stage in range(stages):
        row: list[Operation] = []
        forwards, backwards = 0, 0
        while backwards < microbatches:
            in_flight = forwards - backwards
            if forwards < microbatches and in_flight < stages - stage:
                row.append(("F", stage, forwards))
                forwards += 1
            else:
                row.append(("B", stage, backwards))
                backwards += 1
        rows.append(row)
    return rows


def makespan_by_scanning(
    rows: Sequence[Sequence[Operation]],
    forward: Sequence[float],
    backward: Sequence[float],
    link: Sequence[float],
    weight_grad: Sequence[float] = (),
) -> tuple[float, dict[Operation, tuple[float, float]]]:
    """Repeatedly starts the next operation of any device whose input has arrived. Kinds are F, B or I, and W."""
    seconds = {"F": forward, "B": backward, "I": backward, "W": weight_grad}
    last = len(forward) - 1
    times: dict[Operation, tuple[float, float]] = {}
    free = [0.0] * len(rows)
    position = [0] * len(rows)
    moved = True
    while moved:
        moved = False
        for device, row in enumerate(rows):
            if position[device] == len(row):
                continue
            kind, chunk, microbatch = row[position[device]]
            arrival = 0.0
            if kind == "F" and chunk > 0:
                feeder, delay = ("F", chunk - 1, microbatch), link[chunk - 1]
            elif kind == "W":
                feeder, delay = ("I", chunk, microbatch), 0.0
            elif kind in "BI" and chunk < last:
                feeder, delay = (kind, chunk + 1, microbatch), link[chunk]
            elif kind in "BI":
                feeder, delay = ("F", chunk, microbatch), 0.0
            else:
                feeder, delay = None, 0.0
            if feeder is not None:
                if feeder not in times:
                    continue
                arrival = times[feeder][1] + delay
            start = max(free[device], arrival)
            end = start + seconds[kind][chunk]
            times[kind, chunk, microbatch] = (start, end)
            free[device] = end
            position[device] += 1
            moved = True
    if any(position[device] < len(row) for device, row in enumerate(rows)):
        raise RuntimeError("deadlock")
    return max(free), times
