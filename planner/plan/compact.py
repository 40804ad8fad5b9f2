"""A device's sequence of operations as short text, and back: ``F*3 (F I W)*29 I W``.

    sequence := item (" " item)*        item := token ["*" count] | "(" sequence ")*" count
    token := kind [chunk]

``kind`` is F, B, I, W, S, T, IF or IB; ``chunk`` counts the chunks of the device and stands only where it
holds several (``F0``, ``F1``), never behind S, T, IF, IB, which belong to none. Micro-batches are not
written: the k-th token of a kind and chunk is micro-batch k, which is how every schedule runs them.

Repeats are maximal repetitions (a stretch that equals itself moved by its period). The one that saves the
most symbols is written first, then what stands before it, inside it and behind it in the same way: the
steady state of a pipeline becomes one block.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

OF_A_CHUNK = ("F", "B", "I", "W")
OF_THE_VOCABULARY = ("S", "T", "IF", "IB")
MOST_OPERATIONS = 2**22
DEEPEST = 100

Index = NDArray[np.int64]


class Step(NamedTuple):
    """One operation: its kind, its chunk in the pipeline (None for the vocabulary's) and micro-batch."""

    op: str
    chunk: int | None
    microbatch: int


def compress(steps: Iterable[Step], chunks: Sequence[int]) -> str:
    """The text of a device that holds ``chunks``, which count from 0 in their ascending order.

    Raises ``ValueError`` for an unknown kind, a chunk that is not the device's, and micro-batches out of
    order: the text could not say them.
    """
    tokens, seen = _Tokens(chunks), dict[str, int]()
    symbols: dict[str, int] = {}
    sequence: list[int] = []
    for position, step in enumerate(steps):
        token = tokens.write(step.op, step.chunk)
        expected = seen.get(token, 0)
        if step.microbatch != expected:
            raise ValueError(
                f"operation {position}: {token} of micro-batch {step.microbatch}, but {expected} is next: "
                "a compact sequence runs each kind's micro-batches in order"
            )
        seen[token] = expected + 1
        sequence.append(symbols.setdefault(token, len(symbols)))
    array = np.array(sequence, dtype=np.int64)
    return _Writer(array, tuple(symbols), _repetitions(array)).text(0, len(array))


def expand(text: str, chunks: Sequence[int]) -> list[Step]:
    """The operations of ``text``; ``ValueError``, with the position, for anything ``compress`` does not write."""
    tokens, seen = _Tokens(chunks), dict[str, int]()
    steps: list[Step] = []
    for token in _Reader(text).sequence():
        op, chunk = tokens.read(token)
        steps.append(Step(op, chunk, seen.setdefault(token, 0)))
        seen[token] += 1
    return steps


class _Tokens:
    """Kinds and chunks of one device to tokens and back."""

    def __init__(self, chunks: Sequence[int]) -> None:
        held = sorted(set(chunks))
        spelled = [str(local) if len(held) > 1 else "" for local in range(len(held))]
        self._written: dict[tuple[str, int | None], str] = {
            (op, chunk): op + name for op in OF_A_CHUNK for chunk, name in zip(held, spelled, strict=True)
        }
        self._written |= {(op, None): op for op in OF_THE_VOCABULARY}
        self._read = {token: key for key, token in self._written.items()}

    def write(self, op: str, chunk: int | None) -> str:
        if (op, chunk) not in self._written:
            raise ValueError(f"{op} of chunk {chunk}: this device runs {self._known()}")
        return self._written[op, chunk]

    def read(self, token: str) -> tuple[str, int | None]:
        if token not in self._read:
            raise ValueError(f"{token!r}: this device runs {self._known()}")
        return self._read[token]

    def _known(self) -> str:
        return ", ".join(self._read)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Repetitions:
    """Maximal stretches [first, last) with s[i] = s[i + period], each at least twice its period long."""

    first: Index
    last: Index
    period: Index

    def best(self, first: int, last: int) -> tuple[int, int, int] | None:
        """Of those cut to [first, last), the one that saves the most; the shortest period of equals."""
        begin, end = np.maximum(self.first, first), np.minimum(self.last, last)
        saved = np.where(end - begin >= 2 * self.period, end - begin - self.period, 0)
        if not len(saved) or not saved.max():
            return None
        at = int(np.argmax(saved))  # periods ascend
        return int(begin[at]), int(end[at]), int(self.period[at])


def _repetitions(symbols: Index) -> _Repetitions:
    found: list[tuple[int, int, int]] = []
    count, saved = len(symbols), 0
    for period in range(1, count // 2 + 1):
        if saved > count - period:  # neither a longer period nor what the best leaves over has more to give
            break
        differs = np.flatnonzero(symbols[:-period] != symbols[period:])
        edges = np.concatenate([[-1], differs, [count - period]])
        lengths = np.diff(edges) - 1
        for at in np.flatnonzero(lengths >= period):
            found.append((int(edges[at]) + 1, int(edges[at + 1]) + period, period))
            saved = max(saved, int(lengths[at]))
    first, last, periods = np.array(found, dtype=np.int64).reshape(-1, 3).T
    return _Repetitions(first=first, last=last, period=periods)


@dataclass(frozen=True, slots=True)
class _Writer:
    symbols: Index
    tokens: tuple[str, ...]
    repetitions: _Repetitions
    changes: Index = field(init=False)
    """How often two neighbours differ before each position: what a stretch costs, roughly."""

    def __post_init__(self) -> None:
        changed = np.concatenate([[0, 0], np.cumsum(np.diff(self.symbols) != 0)])
        object.__setattr__(self, "changes", changed)

    def text(self, first: int, last: int) -> str:
        """Of the operations [first, last)."""
        return " ".join(self._items(first, last))

    def _items(self, first: int, last: int) -> Iterator[str]:
        pending = [(first, last)]
        while pending:
            first, last = pending.pop()
            repeat = self.repetitions.best(first, last) if last - first > 1 else None
            if repeat is None:
                yield from (self.tokens[symbol] for symbol in self.symbols[first:last])
                continue
            begin, copies, period = self._turned(first, last, *repeat)
            if first < begin:
                pending += [(begin + copies * period, last), (begin, begin + copies * period), (first, begin)]
                continue
            block = self.text(begin, begin + period)
            yield f"{block}*{copies}" if period == 1 else f"({block})*{copies}"
            pending.append((begin + copies * period, last))

    def _turned(self, first: int, last: int, begin: int, end: int, period: int) -> tuple[int, int, int]:
        """Where in the repetition its copies begin: where the fewest changes are left over around them."""
        copies, spare = divmod(end - begin, period)
        starts = np.arange(begin, begin + spare + 1)
        stops = starts + copies * period
        before = self.changes[starts] - self.changes[first]
        after = self.changes[last] - self.changes[np.minimum(stops + 1, last)]
        return int(starts[np.argmin(before + after)]), copies, period


class _Reader:
    _PART = re.compile(r"\s*(?:([A-Z]+\d*)(?:\*(\d+))?|(\()|\)\*(\d+))(?=\s|\)|$|(?<=\())")

    def __init__(self, text: str) -> None:
        self.text = text

    def sequence(self) -> list[str]:
        open_blocks: list[list[str]] = [[]]
        at, text = 0, self.text.rstrip()
        while at < len(text):
            part = self._PART.match(text, at)
            if part is None:
                self._refuse(at, "not a token, '(' or ')*count'")
            token, times, opened, closed = part.groups()
            if opened:
                open_blocks.append([])
            elif token:
                self._extend(open_blocks[-1], [token], times or "1", at)
            elif len(open_blocks) == 1:
                self._refuse(at, "closes a block that was not opened")
            else:
                block = open_blocks.pop()
                if not block:
                    self._refuse(at, "closes an empty block")
                self._extend(open_blocks[-1], block, closed, at)
            if len(open_blocks) > DEEPEST:
                self._refuse(at, f"nested deeper than {DEEPEST} blocks")
            at = part.end()
        if len(open_blocks) > 1:
            self._refuse(len(text), "a block is left open")
        return open_blocks[0]

    def _extend(self, into: list[str], block: list[str], times: str, at: int) -> None:
        count = int(times) if len(times) < 10 else MOST_OPERATIONS + 1
        if count < 1 or len(into) + len(block) * count > MOST_OPERATIONS:
            self._refuse(at, f"repeated {times[:20]} times: between 1 and {MOST_OPERATIONS:,} operations in all")
        into += block * count

    def _refuse(self, at: int, message: str) -> NoReturn:
        raise ValueError(f"position {at}: {self.text[at : at + 20]!r}: {message}")
