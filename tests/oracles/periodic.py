"""Periodic schedules by trying every whole start: what each keeps alive is counted instant by instant."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """One operation of the micro-batch on ``device``; starts ``waits`` = (which, lag) after others end."""

    device: int
    seconds: int
    waits: tuple[tuple[int, int], ...] = ()


def all_starts(jobs: Sequence[Job], period: int, chosen: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Every way to start the jobs, the first at 0, each less than two periods after it could, no two of a
    device at one time in any period. Jobs are listed behind those that they wait for."""
    if len(chosen) == len(jobs):
        yield chosen
        return
    job = jobs[len(chosen)]
    ready = max((chosen[one] + jobs[one].seconds + lag for one, lag in job.waits), default=0)
    for start in range(ready, ready + 2 * period if job.waits else 1):
        taken = {(start + second) % period for second in range(job.seconds)}
        others = {
            (chosen[one] + second) % period
            for one in range(len(chosen))
            if jobs[one].device == job.device
            for second in range(jobs[one].seconds)
        }
        if not taken & others:
            yield from all_starts(jobs, period, (*chosen, start))


def peak(
    jobs: Sequence[Job], starts: Sequence[int], period: int, kept: Sequence[tuple[int, int, float]], device: int
) -> float:
    """The most alive at once on ``device``: ``kept`` are (from the start of, to the end of, amount)."""
    most = 0.0
    for now in range(period):
        alive = 0.0
        for first, last, amount in kept:
            if jobs[first].device == device:
                end = starts[last] + jobs[last].seconds
                alive += amount * sum(starts[first] + k * period <= now < end + k * period for k in range(-99, 99))
        most = max(most, alive)
    return most


def least_peak(
    jobs: Sequence[Job],
    period: int,
    kept: Sequence[tuple[int, int, float]],
    caps: Sequence[float],
) -> float | None:
    """The least peak of device 0 over all starts that keep to the caps; None where there are none."""
    best: float | None = None
    for starts in all_starts(jobs, period):
        found = peak(jobs, starts, period, kept, 0)
        if (best is None or found < best) and found <= caps[0]:
            others = range(1, len(caps))
            if all(peak(jobs, starts, period, kept, device) <= caps[device] for device in others):
                best = found
    return best
