"""From a ``plan experts`` file to what is solved: traces read and checked against each other, all errors at once."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from costmodels.architecture import Model, Moe
from planner.expert_timing import ExpertTiming, timing_of
from planner.expert_traces import Floats, Reading, Traces, read_traces
from planner.readers.expert_loads import LoadTrace, is_tokens
from planner.specs import load_cluster
from planner.specs.document import Document, read_document
from planner.specs.experts import ExpertsSpec
from planner.specs.model import load_model
from planner.specs.strict import parse_spec

Rows: TypeAlias = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertProblem:
    """``slots_per_gpu`` [layers]; ``layer_ids`` the model's numbers of the layers, ``hidden_layers`` all it has;
    ``cost`` [gpus, gpus] of a transition, empty without any; ``current`` the placement now, [layers][gpus * slots];
    ``timing`` for objective time."""

    file: str
    name: str
    spec: ExpertsSpec
    traces: Traces
    holdout: Traces
    layer_ids: tuple[int, ...]
    hidden_layers: int
    gpus: int
    gpus_per_node: int
    slots_per_gpu: tuple[int, ...]
    cost: Floats
    current: Rows | None
    expert_bytes: float | None
    notes: tuple[str, ...]
    timing: ExpertTiming | None = None

    @property
    def layers(self) -> int:
        return len(self.layer_ids)

    @property
    def experts(self) -> int:
        return int(self.traces.loads[0].shape[1])

    @property
    def nodes(self) -> int:
        return self.gpus // self.gpus_per_node

    @property
    def replicated(self) -> bool:
        """Whether there are more slots than experts in some layer."""
        return any(slots * self.gpus > self.experts for slots in self.slots_per_gpu)


def load_experts(source: str | Path | Mapping[str, object]) -> ExpertProblem:
    """The problem in a YAML or JSON file of ``ExpertsSpec``'s keys, or in a mapping (files relative to the
    working directory). Raises ``SpecError`` with every problem found."""
    document = _document(source)
    return _Resolution(document=document, spec=parse_spec(ExpertsSpec, document)).problem()


def _document(source: str | Path | Mapping[str, object]) -> Document:
    if isinstance(source, Mapping):
        return Document(file="experts", data=dict(source))
    return read_document(source)


@dataclass(slots=True, kw_only=True)
class _Resolution(Reading):
    model: Model | None = None

    def problem(self) -> ExpertProblem:
        spec = self.spec
        self._check_keys()
        self.model = self._model()
        traces, files = read_traces(
            self, {"loads": spec.loads, "transitions": spec.transitions, "coactivation": spec.coactivation}
        )
        held, _ = read_traces(self, spec.holdout or {}, held=True)
        cost = self._cost(bool(traces.transitions or held.transitions))
        self.problems.check()
        if not traces.loads:
            self.refuse("loads", "missing: give loads, or transitions to count them from")
        ids, kept = self._layers(traces.loads, files)
        if kept is not None:
            traces = _only(traces, kept)
        layers, experts = traces.loads[0].shape
        self._check_alike(traces, layers, experts, "")
        self._check_loads(traces.loads, ids)
        if held.loads and kept is not None and len(held.loads[0]) > len(kept):
            held = _only(held, kept)
        self._check_alike(held, layers, experts, "holdout")
        slots = self._slots(layers, experts)
        current = self._current(ids, slots, experts)
        expert_bytes = spec.expert_bytes
        if self.model is not None and expert_bytes is None:
            expert_bytes = _expert_bytes(self.model)
            self.notes.append(f"an expert of {self.model.name} is {expert_bytes / 1e6:.1f} MB in 16 bits")
        self.problems.check()
        timing = self._timing(experts, traces) if spec.objective == "time" else None
        dense = self._dense()
        return ExpertProblem(
            file=self.document.file,
            name=spec.name or Path(self.document.file).stem,
            spec=spec,
            traces=traces,
            holdout=held,
            layer_ids=ids,
            hidden_layers=max((*ids, *dense)) + 1,
            gpus=spec.gpus,
            gpus_per_node=spec.gpus_per_node or (timing.gpus_per_domain if timing is not None else spec.gpus),
            slots_per_gpu=slots,
            cost=cost,
            current=current,
            expert_bytes=expert_bytes,
            notes=tuple(dict.fromkeys(self.notes)),
            timing=timing,
        )

    def _timing(self, experts: int, traces: Traces) -> ExpertTiming | None:
        """What prices placements; the GPUs of a node are the cluster's."""
        spec, model = self.spec, self.model
        assert spec.cluster is not None
        beside = self.folder / spec.cluster
        timing = None
        with self.problems.of():
            cluster = load_cluster(str(beside) if beside.is_file() else spec.cluster)
            if model is not None:
                try:
                    timing = timing_of(spec, cluster, model)
                except ValueError as error:
                    key, _, message = str(error).partition(": ")
                    self.wrong(key, message)
        self.problems.check()
        assert timing is not None
        if timing.priced.block.experts != experts:
            self.refuse(
                "model", f"has {timing.priced.block.experts} experts, the loads have {experts}", spec.model or ""
            )
        together = {route.shape[1] for route, _ in traces.routes} - {timing.priced.block.top_k}
        if together:
            message = f"has tokens of {together.pop()} experts; {spec.model} routes each to {timing.priced.block.top_k}"
            self.refuse("coactivation" if spec.coactivation else "loads", message)
        if spec.gpus_per_node is not None and min(spec.gpus_per_node, spec.gpus) != timing.gpus_per_domain:
            message = f"{timing.gpus_per_domain} GPUs of the cluster share NVLink: leave it out"
            self.refuse("gpus_per_node", message, spec.gpus_per_node)
        if timing.priced.merged and spec.routing is None and not traces.routes:
            self.notes.append(
                "a token's experts are taken as drawn alone: routing, or a jsonl of tokens, tells what is used together"
            )
        return timing

    def _check_keys(self) -> None:
        """What can be said without reading a trace."""
        spec = self.spec
        if spec.gpus_per_node and spec.gpus % spec.gpus_per_node:
            self.wrong("gpus_per_node", f"does not divide the {spec.gpus} GPUs", spec.gpus_per_node)
        tokens = any(is_tokens(source) for source in spec.loads or ())
        if spec.objective == "transitions" and spec.transitions is None and not tokens:
            self.wrong("transitions", "missing: objective transitions needs counts [layers - 1, experts, experts]")
        if spec.objective == "traffic" and spec.coactivation is None and not tokens:
            self.wrong("coactivation", "missing: objective traffic needs counts of pairs, or a jsonl of routed tokens")
        for key in ("cluster", "model", "tokens_per_gpu"):
            if spec.objective == "time" and getattr(spec, key) is None:
                self.wrong(key, "missing: objective time needs it")
        if spec.total_slots_per_gpu is not None:
            for key in ("slots_per_gpu", "current", "robust"):
                if key in self.document.data:
                    self.wrong(key, "does not go with total_slots_per_gpu: give one of them")
        if spec.replicas_apart and spec.move_limit is not None:
            self.wrong("move_limit", "does not go with replicas_apart", spec.move_limit)
        if spec.robust == "worst" and spec.move_limit is not None:
            self.wrong("move_limit", "does not go with robust: worst", spec.move_limit)
        if spec.move_limit is not None and spec.current is None:
            self.wrong("move_limit", "counts from a placement: give current as well", spec.move_limit)
        if spec.objective != "transitions":
            for key, given in (("tail", spec.tail), ("load_limit", spec.load_limit), ("bandwidth", spec.bandwidth)):
                if given:
                    self.wrong(key, f"has no meaning for objective {spec.objective}", given)
        if spec.objective == "transitions" and spec.bandwidth is not None and "weights" in self.document.data:
            self.wrong("weights", "stands for bandwidth: give one of them")
        if spec.objective != "time":
            for key in ("dispatch", "precision", "routing", "passes"):
                if key in self.document.data:
                    self.wrong(key, f"has no meaning for objective {spec.objective}", self.document.data[key])
        elif spec.replicas_apart:
            self.wrong("replicas_apart", "is kept for objective balance alone, not time", True)
        if spec.objective != "balance":
            for key in ("expert_groups", "move_limit", "total_slots_per_gpu"):
                if getattr(spec, key) is not None:
                    self.wrong(key, f"is kept for objective balance alone, not {spec.objective}", getattr(spec, key))
        if spec.robust == "worst":
            if spec.objective in ("traffic", "time"):
                message = f"worst is for balance and transitions, not {spec.objective}: leave it out"
                self.wrong("robust", message, "worst")
            for key in ("tail", "load_limit"):
                if getattr(spec, key):
                    self.wrong(key, "does not go with robust: worst", getattr(spec, key))

    def _dense(self) -> tuple[int, ...]:
        given = self.spec.dense_layers
        if given is None and self.model is not None:
            kinds = [self.model.kinds[k].block for k in self.model.layers]
            return tuple(layer for layer, block in enumerate(kinds) if not isinstance(block, Moe))
        if given is None:
            return ()
        return tuple(range(given)) if isinstance(given, int) else given

    def _layers(
        self, loads: tuple[Floats, ...], files: list[LoadTrace]
    ) -> tuple[tuple[int, ...], NDArray[np.intp] | None]:
        """The model's number of each layer with experts, and the rows to keep where dense ones are there too."""
        dense = self._dense()
        told = {trace.layer_ids for trace in files if trace.layer_ids is not None}
        if told:
            ids = sorted(told)[0]
            if len(told) > 1:
                self.wrong("loads", "the files hold different layers")
            if both := sorted(set(ids) & set(dense)):
                self.wrong("dense_layers", f"layer {both[0]} has routed tokens", both[0])
            self.problems.check()
            return ids, None
        rows = len(loads[0])
        there = [layer for layer in dense if layer < rows]
        if dense and len(there) == len(dense) and all(not one[there].any() for one in loads if len(one) == rows):
            kept = np.array([layer for layer in range(rows) if layer not in dense], dtype=np.intp)
            if not len(kept):
                self.refuse("dense_layers", f"all {rows} layers are dense")
            self.notes.append(f"loads: the rows of {len(dense)} dense layers are empty and left out")
            return tuple(kept.tolist()), kept
        numbers = (layer for layer in range(rows + len(dense)) if layer not in dense)
        return tuple(itertools.islice(numbers, rows)), None

    def _check_alike(self, traces: Traces, layers: int, experts: int, prefix: str) -> None:
        """Every array for the same layers and experts."""
        shapes = [
            ("loads", traces.loads, (layers, experts)),
            ("transitions", traces.transitions, (layers - 1, experts, experts)),
        ]
        for key, arrays, shape in shapes:
            for position, array in enumerate(arrays):
                if array.shape != shape:
                    place = f"{prefix}.{key}" if prefix else key
                    many = f" (file {position + 1} of {len(arrays)})" if len(arrays) > 1 else ""
                    self.wrong(place, f"has the shape {list(array.shape)}{many}, not {list(shape)}")
        key = f"{prefix}.coactivation" if prefix else "coactivation"
        if traces.routes and len(traces.routes) != layers:
            self.wrong(key, f"has {len(traces.routes)} layers, the loads have {layers}")
        if any(route.max() >= experts for route, _ in traces.routes):
            self.wrong(key, f"names experts beyond the {experts} of the loads")
        self.problems.check()

    def _check_loads(self, loads: tuple[Floats, ...], ids: tuple[int, ...]) -> None:
        for position, one in enumerate(loads):
            empty = [ids[layer] for layer in np.flatnonzero(one.sum(axis=1) == 0)]
            if empty:
                many = f" of file {position + 1}" if len(loads) > 1 else ""
                first = list(range(len(empty))) == empty
                remedy = f"dense_layers: {len(empty)}" if first else f"dense_layers: {empty[:8]}"
                self.wrong(
                    "loads",
                    f"no token in layer {', '.join(map(str, empty[:8]))}{many}: a layer without experts? then "
                    f"{remedy}; else record again",
                )
        partly = [
            ids[layer]
            for layer in range(len(ids))
            if any(one[layer].sum() and np.ptp(one[layer]) == 0 for one in loads)
        ]
        if partly and len(partly) < len(ids) and loads[0].shape[1] > 1:
            self.notes.append(
                f"loads: layer {', '.join(map(str, partly[:8]))} has the same load for every expert while others "
                "have not: made-up counts?"
            )

    def _slots(self, layers: int, experts: int) -> tuple[int, ...]:
        given, gpus = self.spec.slots_per_gpu, self.spec.gpus
        least = -(-experts // gpus)
        total = self.spec.total_slots_per_gpu
        if total is not None and total < least * layers:
            self.wrong(
                "total_slots_per_gpu",
                f"{layers} layers of {least} slots, as few as hold every expert, are {least * layers}",
                total,
            )
        if given is None:
            return (least,) * layers
        slots = given if isinstance(given, tuple) else (given,) * layers
        if len(slots) != layers:
            self.wrong("slots_per_gpu", f"has {len(slots)} figures for {layers} layers with experts")
        elif min(slots) < least:
            message = (
                f"{gpus} GPUs of {min(slots)} slots hold {gpus * min(slots)} of {experts} experts: "
                f"at least {least} slots per GPU, or {-(-experts // min(slots))} GPUs"
            )
            self.wrong("slots_per_gpu", message, given)
        objective = self.spec.objective
        if objective in ("transitions", "traffic") and any(s * gpus != experts for s in slots):
            message = f"objective {objective} places every expert once: {experts} experts on {gpus} GPUs need " + (
                f"{experts // gpus} slots" if experts % gpus == 0 else "a number of GPUs that divides them"
            )
            self.wrong("slots_per_gpu", message, given)
        return slots

    def _cost(self, counted: bool) -> Floats:
        """Of a transition from GPU to GPU, [gpus, gpus], 0 within one; empty without transitions."""
        spec, gpus = self.spec, self.spec.gpus
        if not counted:
            return np.zeros((0, 0))
        node = np.arange(gpus) // (spec.gpus_per_node or gpus)
        away = 1.0 - np.eye(gpus)
        weights = spec.weights
        if spec.bandwidth is None:
            return np.asarray(away * (weights.gpu + weights.node * (node[:, None] != node)))
        table = None
        with self.problems.of():
            table = self._bandwidth(spec.bandwidth, gpus)
        if table is None:
            return np.asarray(away)
        np.fill_diagonal(table, np.inf)
        return np.asarray(1.0 / table)

    def _bandwidth(self, given: str | list[list[float]], gpus: int) -> Floats:
        from planner.readers.arrays import as_array
        from planner.readers.bandwidth_csv import read_bandwidth_csv

        if isinstance(given, str):
            table = read_bandwidth_csv(self.folder / given) / 1e9
        else:
            table = as_array(self.document.file, given, "bandwidth")
        if table.shape != (gpus, gpus):
            self.refuse("bandwidth", f"has the shape {list(table.shape)}, not {[gpus, gpus]}")
        if not (table[~np.eye(gpus, dtype=bool)] > 0).all():
            self.refuse("bandwidth", "must be above zero between different GPUs")
        return table.copy()

    def _current(self, ids: tuple[int, ...], slots: tuple[int, ...], experts: int) -> Rows | None:
        from planner.exports.experts import PlacementFormatError, read_experts_file

        if self.spec.current is None:
            return None
        path = self.folder / self.spec.current
        try:
            found = read_experts_file(path)
        except OSError as error:
            self.wrong("current", f"cannot be read: {error.strerror or error}", self.spec.current)
            return None
        except PlacementFormatError as error:
            self.wrong("current", str(error), self.spec.current)
            return None
        rows = dict(zip(found.layer_ids, found.rows, strict=True)) if found.layer_ids else None
        if rows is not None and set(ids) <= set(rows):
            chosen = tuple(rows[layer] for layer in ids)
        elif len(found.rows) == len(ids):
            chosen = found.rows
        else:
            self.wrong("current", f"has {len(found.rows)} layers, not {len(ids)}", self.spec.current)
            return None
        if found.gpus not in (None, self.spec.gpus):
            self.wrong("current", f"is for {found.gpus} GPUs, not {self.spec.gpus}", self.spec.current)
        for layer, row, count in zip(ids, chosen, slots, strict=False):
            if len(row) != count * self.spec.gpus:
                self.wrong("current", f"has {len(row)} slots in layer {layer}, not {count * self.spec.gpus}")
                break
            if set(row) != set(range(experts)):
                self.wrong("current", f"layer {layer} does not hold each of {experts} experts")
                break
        return chosen

    def _model(self) -> Model | None:
        """The model, if one is named; its experts are those of the problem or it is refused."""
        name = self.spec.model
        if name is None:
            return None
        beside = self.folder / name
        with self.problems.of():
            model = load_model(str(beside) if beside.is_file() else name)
            if not any(isinstance(kind.block, Moe) for kind in model.kinds):
                self.wrong("model", f"{model.name} has no experts", name)
                return None
            return model
        return None


def _expert_bytes(model: Model) -> float:
    """Weights of an expert in 16 bits."""
    block = next(kind.block for kind in model.kinds if isinstance(kind.block, Moe))
    return 2.0 * block.expert_parameters(model.hidden)


def _only(traces: Traces, kept: NDArray[np.intp]) -> Traces:
    return Traces(
        loads=tuple(one[kept] if len(one) > len(kept) else one for one in traces.loads),
        transitions=traces.transitions,
        routes=traces.routes,
    )
