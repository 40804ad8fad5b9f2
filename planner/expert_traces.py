"""The counts that experts are placed by, from the files that a problem names: loads, transitions, routes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from planner.readers.expert_loads import LoadTrace, is_tokens, read_counts, read_loads
from planner.readers.routed_tokens import RoutedTokens, read_routed_tokens
from planner.specs.document import Document
from planner.specs.errors import Problem, Problems, shown
from planner.specs.experts import ExpertsSpec, Source

Floats: TypeAlias = NDArray[np.float64]
Routes: TypeAlias = tuple[NDArray[np.intp], Floats]
"""Of a layer: the experts of each route [routes, k], and how many tokens take it [routes]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """Counts of one workload, several recordings of it in order: ``loads`` [layers, experts] each,
    ``transitions`` [layers - 1, experts, experts] each, ``routes`` by layer; empty where not given."""

    loads: tuple[Floats, ...] = ()
    transitions: tuple[Floats, ...] = ()
    routes: tuple[Routes, ...] = ()

    def pooled_loads(self) -> Floats:
        return np.asarray(sum(self.loads))

    def pooled_transitions(self) -> Floats | None:
        return np.asarray(sum(self.transitions)) if self.transitions else None


@dataclass(slots=True, kw_only=True)
class Reading:
    """A problem file on its way to a problem: what is wrong with it and what is worth knowing, so far."""

    document: Document
    spec: ExpertsSpec
    problems: Problems = field(default_factory=Problems)
    notes: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return Path(self.document.file).parent

    def wrong(self, key: str, message: str, value: object = "") -> None:
        text = value if isinstance(value, str) and not value else shown(value)
        line = self.document.line((key,)) if key in self.document.data else None
        self.problems.found.append(Problem(file=self.document.file, key=key, value=text, message=message, line=line))

    def refuse(self, key: str, message: str, value: object = "") -> None:
        self.wrong(key, message, value)
        self.problems.check()


def read_traces(
    reading: Reading, sources: Mapping[str, tuple[Source, ...] | None], held: bool = False
) -> tuple[Traces, list[LoadTrace]]:
    """What the files of one workload hold, and the traces of its loads; problems go to ``reading``."""
    spec, where = reading.spec, reading.document.file
    prefix = "holdout." if held else ""
    loads: list[LoadTrace] = []
    transitions: list[Floats] = []
    routed: list[RoutedTokens] = []
    pairs: list[Floats] = []
    for source in sources.get("loads") or ():
        with reading.problems.of():
            loads.append(
                read_loads(
                    source,
                    reading.folder,
                    key=f"{prefix}loads",
                    file=where,
                    experts=spec.experts,
                    drop_warmup=spec.drop_warmup,
                )
            )
            reading.notes += loads[-1].notes
    for source in sources.get("transitions") or ():
        with reading.problems.of():
            if is_tokens(source):
                found = read_routed_tokens(reading.folder / str(source))
                transitions += _followed(reading, found, str(source))
            else:
                transitions.append(read_counts(source, reading.folder, key="transitions", file=where))
    for source in sources.get("coactivation") or ():
        with reading.problems.of():
            if is_tokens(source):
                routed.append(read_routed_tokens(reading.folder / str(source)))
            else:
                pairs.append(read_counts(source, reading.folder, key="coactivation", file=where))
    tokens = [trace.tokens for trace in loads if trace.tokens is not None]
    if not transitions and tokens and all(t.tokens is not None for t in tokens) and len(tokens) == len(loads):
        transitions = [found for t in tokens for found in _followed(reading, t, "loads")]
    elif spec.objective == "transitions" and not transitions and tokens:
        reading.wrong(f"{prefix}loads", "the tokens have no ids, so none can be followed: add token to every line")
    counted = [trace.loads for trace in loads] or [_loads_of(counts) for counts in transitions]
    if not loads and transitions and not held:
        reading.notes.append(
            "loads counted from the transitions: what leaves an expert, and reaches it in the last layer"
        )
    routes = _routes(reading, routed or (tokens if not pairs else []), pairs)
    return Traces(loads=tuple(counted), transitions=tuple(transitions), routes=routes), loads


def _followed(reading: Reading, tokens: RoutedTokens, file: str) -> list[Floats]:
    found = tokens.transitions(reading.spec.experts or tokens.experts)
    if found is None:
        reading.wrong("transitions", f"{file} has no token ids: add token to every line")
        return []
    return [found]


def _routes(reading: Reading, routed: list[RoutedTokens], pairs: list[Floats]) -> tuple[Routes, ...]:
    """Routes of every layer: all tokens of the files, or the pairs of top-2 routing."""
    if routed and not pairs:
        if len({tokens.layer_ids for tokens in routed}) > 1:
            reading.wrong("coactivation", "the files hold different layers")
            return ()
        joined = []
        for layer in range(len(routed[0].layer_ids)):
            parts = [tokens.routes[layer] for tokens in routed]
            if len({part.shape[1] for part in parts}) > 1:
                reading.wrong("coactivation", "the files have different numbers of experts per token")
                return ()
            merged, counts = np.unique(np.sort(np.concatenate(parts), axis=1), axis=0, return_counts=True)
            joined.append((merged.astype(np.intp), counts.astype(np.float64)))
        return tuple(joined)
    if not pairs or routed:
        if pairs:
            reading.wrong("coactivation", "mixes counts and files of tokens: give one kind")
        return ()
    if len({part.shape for part in pairs}) > 1:
        reading.wrong("coactivation", f"have different shapes, {sorted({part.shape for part in pairs})}")
        return ()
    if reading.spec.top_k not in (None, 2):
        reading.wrong(
            "coactivation",
            f"counts of pairs do not tell the GPUs of a token of {reading.spec.top_k} experts: give a jsonl of tokens",
        )
        return ()
    reading.notes.append("co-activation counts are read as those of top-2 routing, where they tell every token")
    summed = sum(pairs)
    assert isinstance(summed, np.ndarray)
    found = []
    for layer, counts in enumerate(summed):
        if not np.allclose(counts, counts.T):
            reading.wrong("coactivation", f"layer {layer} is not symmetric: give the tokens that used both experts")
            return ()
        first, second = np.triu_indices(len(counts), 1)
        used = counts[first, second] > 0
        if not used.any():
            reading.wrong("coactivation", f"layer {layer} has no pairs")
            return ()
        found.append((np.stack([first[used], second[used]], axis=1), counts[first, second][used]))
    return tuple(found)


def _loads_of(counts: Floats) -> Floats:
    return np.concatenate([counts.sum(axis=2), counts[-1:].sum(axis=1)])
