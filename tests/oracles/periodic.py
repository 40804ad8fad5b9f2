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
    """Every way to start the jobs, the first at 0, each less than two periods after it could (one, where
    nothing waits for it), no two of a device at one time in any period. Jobs stand behind those that they
    wait for."""
    if len(chosen) == len(jobs):
        yield chosen
        return
    number = len(chosen)
    job = jobs[number]
    ready = max((chosen[one] + jobs[one].seconds + lag for one, lag in job.waits), default=0)
    taken = {
        (start + second) % period
        for start, other in zip(chosen, jobs, strict=False)
        if other.device == job.device
        for second in range(other.seconds)
    }
    last = all(number != one for other in jobs for one, _ in other.waits)
    for start in range(ready, ready + (period if last else 2 * period) if job.waits else 1):
        if not any((start + second) % period in taken for second in range(job.seconds)):
            yield from all_starts(jobs, period, (*chosen, start))


def peak(
    jobs: Sequence[Job], starts: Sequence[int], period: int, kept: Sequence[tuple[int, int, float]], device: int
) -> float:
    """The most alive at once on ``device``: ``kept`` are (from the start of, to the end of, amount)."""
    alive = [0.0] * period
    for first, last, amount in kept:
        if jobs[first].device == device:
            for instant in range(starts[first], starts[last] + jobs[last].seconds):
                alive[instant % period] += amount
    return max(alive)


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
