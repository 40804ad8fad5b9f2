"""Logs of nccl-tests (``all_reduce_perf`` and its kin), of every layout so far.

A line of results is ``size count type [redop] [root]`` and twice (out of place, in place) ``time algbw
busbw error``; older logs lack ``root``, those of all-to-all leave ``redop`` blank. Whatever stands before
it (``mpirun --tag-output``, ``srun --label``, time stamps) and lines of other programs between (``NCCL
INFO``) are passed over. Times are microseconds; sizes count a whole per-rank buffer, as
``costmodels.collectives`` does. One file may hold several runs.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn, get_args

from planner.specs.document import read_text
from planner.specs.errors import Problem, SpecError

Collective = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "send"]
NAMES: dict[str, Collective] = {
    "all_reduce": "all_reduce",
    "allreduce": "all_reduce",
    "all_gather": "all_gather",
    "allgather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "reducescatter": "reduce_scatter",
    "alltoall": "all_to_all",
    "all_to_all": "all_to_all",
    "broadcast": "broadcast",
    "sendrecv": "send",
}
MOST_BYTES = 64 * 2**20
TYPES = r"u?int(?:8|32|64)|half|float|double|bfloat16|(?:fp8|f8|float8)_?e[45]m[23]"
ROW = re.compile(rf"(?:^|[\s:>|\]])(?P<size>\d+)\s+(?P<count>\d+)\s+(?P<type>{TYPES})\s+(?P<rest>\S.*)$")
RANK = re.compile(r"#\s+Rank\s+(\d+)\s.*?\bon\s+(\S+)\s+device\s+\d+\s+\[[\w:.]+\]\s*(.*)$")
THREADS = re.compile(r"#\s+n[Tt]hread\s+\d+\s+n[Gg]pus\s+(\d+)")
STARTING = re.compile(r"Collective test starting:\s*(\w+?)_perf")
COMMAND = re.compile(r"\b(\w+?)_perf\b")
STAMP = re.compile(r"\d[:-]\d\d[:-]\d\d")
"""A time of day or a date: ``--report_timestamps`` adds one at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One size: ``size_bytes`` of the per-rank buffer, seconds out of place (in place where that is all)."""

    line: int
    size_bytes: float
    seconds: float
    bus_over_algorithm: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NcclRun:
    """One run: ``gpus`` ranks on ``hosts`` nodes; ``gpu_names`` as the log prints them; ``notes`` on what
    was passed over; ``empty_lines`` are sizes of no bytes, ``other_lines`` what other programs wrote between."""

    file: str
    line: int
    collective: Collective
    gpus: int
    hosts: int
    gpu_names: tuple[str, ...]
    timings: tuple[Timing, ...]
    notes: tuple[str, ...]
    empty_lines: tuple[int, ...] = ()
    other_lines: tuple[int, ...] = ()


@dataclass(slots=True)
class _Open:
    """A run while its lines are read."""

    line: int
    name: str = ""
    ranks: dict[int, tuple[str, str]] = field(default_factory=dict)
    redops: set[str] = field(default_factory=set)
    timings: list[Timing] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)
    other: list[int] = field(default_factory=list)


def read_nccl_log(
    path: str | Path, *, collective: str | None = None, gpus: int | None = None, nodes: int | None = None
) -> list[NcclRun]:
    """The runs of a log. ``collective``, ``gpus`` and ``nodes`` stand in for what it does not say.

    Raises ``SpecError`` when it holds no results, or when a run's collective or ranks are unknown.
    """
    file = str(path)
    if collective is not None and collective not in NAMES:
        _refuse(file, None, "collective", collective, f"must be one of {', '.join(get_args(Collective))}")
    opened = list(_runs(read_text(path, MOST_BYTES).splitlines()))
    if not opened:
        _refuse(file, None, "", "", "holds no line 'size count type ... time algbw busbw'; is it an nccl-tests log?")
    return [_closed(file, run, collective, gpus, nodes) for run in opened]


def _runs(lines: list[str]) -> Iterator[_Open]:
    """A header after results begins another run."""
    run, command = _Open(line=1), ""
    for number, text in enumerate(lines, start=1):
        row = ROW.search(text)
        if row:
            _add(run, number, row)
            continue
        starting = STARTING.search(text)
        if (starting or THREADS.search(text)) and run.timings:
            yield run
            run = _Open(line=number)
        if starting:
            run.name = starting[1]
        elif (named := COMMAND.search(text)) and not run.name and named[1] in NAMES:
            run.name = command = named[1]
        if rank := RANK.search(text):
            run.ranks[int(rank[1])] = (rank[2], rank[3].strip())
        elif text.strip() and "#" not in text:
            run.other.append(number)
    run.name = run.name or command
    if run.timings or run.broken:
        yield run


def _add(run: _Open, number: int, row: re.Match[str]) -> None:
    if int(row["size"]) == 0:
        run.empty.append(number)
        return
    words = row["rest"].split()
    while words and STAMP.search(words[-1]):
        words.pop()
    start = next((i for i in (len(words) - 8, len(words) - 4) if i >= 0 and _is_result(words[i : i + 3])), None)
    if start is None:
        run.broken.append(number)
        return
    run.redops |= {word for word in words[:start] if word.isalpha()}
    if any(word.isdigit() and int(word) > 0 for word in words[start + 3 :: 4]):
        run.wrong.append(number)
        return
    seconds, algorithm, bus = (float(word) * unit for word, unit in zip(words[start:], (1e-6, 1.0, 1.0), strict=False))
    if seconds <= 0:
        run.broken.append(number)
        return
    ratio = bus / algorithm if algorithm > 1 else None
    run.timings.append(Timing(line=number, size_bytes=float(row["size"]), seconds=seconds, bus_over_algorithm=ratio))


def _is_result(words: list[str]) -> bool:
    """``time algbw busbw``; ``N/A`` where a test has no such mode."""
    return all(_figure(word) is not None for word in words)


def _figure(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _closed(file: str, run: _Open, collective: str | None, gpus: int | None, nodes: int | None) -> NcclRun:
    hosts = {host for host, _ in run.ranks.values()}
    count, machines = (len(run.ranks), len(hosts)) if run.ranks else (gpus, nodes or 1)
    if nodes is not None and run.ranks:
        machines = nodes
    if not count:
        _refuse(file, run.line, "", "", "no lines '#  Rank  0 ... device 0': say how many GPUs and nodes it ran on")
    if count < 2:
        _refuse(file, run.line, "", f"{count} rank", "a collective needs at least two")
    if count % machines:
        _refuse(file, run.line, "", f"{count} ranks on {machines} nodes", "must be equally many on each")
    if not run.timings:
        _refuse(file, run.line, "", "", "no line of results is whole: " + told_lines(run.broken))
    name = collective or run.name or _guessed(run, count) or _in_name(file)
    if name not in NAMES:
        _refuse(file, run.line, "", "", "which collective? Write all_gather=FILE (or another of the names)")
    notes = []
    if run.broken:
        notes.append(f"{file}: {len(run.broken)} broken lines passed over: {told_lines(run.broken)}")
    if run.wrong:
        notes.append(f"{file}: {len(run.wrong)} sizes with wrong results left out: {told_lines(run.wrong)}")
    return NcclRun(
        file=file,
        line=run.line,
        collective=NAMES[name],
        gpus=count,
        hosts=machines,
        gpu_names=tuple(sorted({gpu for _, gpu in run.ranks.values() if gpu})),
        timings=tuple(run.timings),
        notes=tuple(notes),
        empty_lines=tuple(run.empty),
        other_lines=tuple(run.other),
    )


def _guessed(run: _Open, gpus: int) -> str:
    """From bus over algorithm bandwidth (nccl-tests, PERFORMANCE.md), 2 (n-1)/n for all-reduce, where
    that tells: for two ranks it is 1 like a broadcast's."""
    ratios = [t.bus_over_algorithm for t in run.timings if t.bus_over_algorithm]
    ratio = ratios[-1] if ratios else 0.0
    if gpus > 2 and abs(ratio - 2 * (gpus - 1) / gpus) < 0.02:
        return "all_reduce"
    reduces = bool(run.redops - {"none"})
    if gpus > 2 and reduces and abs(ratio - (gpus - 1) / gpus) < 0.02:
        return "reduce_scatter"
    return ""


def _in_name(file: str) -> str:
    plain = Path(file).stem.lower().replace("-", "_")
    return max((name for name in NAMES if name in plain), key=len, default="")


def told_lines(numbers: Sequence[int]) -> str:
    """``line 3, 5``, at most five of them."""
    shown_first = ", ".join(str(n) for n in numbers[:5])
    return f"line {shown_first}" + (" and others" if len(numbers) > 5 else "")


def _refuse(file: str, line: int | None, key: str, value: str, message: str) -> NoReturn:
    raise SpecError([Problem(file=file, line=line, key=key, value=value, message=message)])
