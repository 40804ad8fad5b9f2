"""From a ``plan schedule`` file to the problem that is solved: every figure spelled out, all errors at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from planner.specs.document import Document, Place, read_document, spelled
from planner.specs.errors import Problem, SpecError, shown
from planner.specs.pipeline import Figures, PipelineSpec, Placement
from planner.specs.strict import parse_spec
from solvers.schedule.problem import ScheduleProblem, VocabularyPasses

MOST_OPERATIONS = 2**20
TOLERANCE = 1e-9
"""Relative; of shares that are to add up to the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A problem, the ``schedule`` asked for (``best`` or a named one), and what to call it."""

    name: str
    schedule: str
    problem: ScheduleProblem


def load_pipeline(source: str | Path | Mapping[str, object]) -> Pipeline:
    """The pipeline in a YAML or JSON file of ``PipelineSpec``'s keys, or in a mapping.

    One figure stands for all chunks (or devices); one ``p2p_seconds`` for the transfers between different
    devices, while neighbouring chunks of one device need none. Raises ``SpecError`` with every problem found.
    """
    document = _document(source)
    spec = parse_spec(PipelineSpec, document)
    return _Resolution(document=document, spec=spec).pipeline()


def _document(source: str | Path | Mapping[str, object]) -> Document:
    if isinstance(source, Mapping):
        return Document(file="pipeline", data=dict(source))
    return read_document(source)


def chunk_devices(placement: Placement, devices: int) -> tuple[int, ...]:
    """The device of each chunk."""
    if placement == "linear":
        return tuple(range(devices))
    if placement == "v":
        return (*range(devices), *reversed(range(devices)))
    if isinstance(placement, int):
        return tuple(range(devices)) * placement
    assert isinstance(placement, tuple)
    return placement


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resolution:
    document: Document
    spec: PipelineSpec
    problems: list[Problem] = field(default_factory=list)

    def pipeline(self) -> Pipeline:
        spec, devices = self.spec, self.spec.devices
        placed = chunk_devices(spec.placement, devices)
        self._check_placement(placed)
        self._check_size(placed)
        self._check_units()
        figures: dict[str, Any] = {
            key: self._spread((key,), getattr(spec, key), len(placed), "chunks")
            for key in ("forward_seconds", "input_grad_seconds", "weight_grad_seconds")
        }
        figures |= self._activation(len(placed))
        cap = float("inf") if spec.memory_cap is None else spec.memory_cap
        figures["memory_cap"] = self._spread(("memory_cap",), cap, devices, "devices")
        figures["p2p_seconds"] = self._links(placed)
        figures["vocabulary"] = self._vocabulary()
        self._check()
        problem = ScheduleProblem(
            devices=devices,
            microbatches=spec.microbatches,
            device_of_chunk=placed,
            split_backward=spec.split_backward,
            objective=spec.objective,
            **figures,
        )
        name = spec.name or Path(self.document.file).stem
        return Pipeline(name=name, schedule=spec.schedule, problem=problem)

    def _check_placement(self, placed: tuple[int, ...]) -> None:
        devices = self.spec.devices
        if outside := sorted({device for device in placed if not 0 <= device < devices}):
            known = "device 0" if devices == 1 else f"devices 0 to {devices - 1}"
            self._wrong(("placement",), f"there are {known} only", outside)
        if empty := sorted(set(range(devices)) - set(placed)):
            named = ", ".join(map(str, empty[:8])) + (", ..." if len(empty) > 8 else "")
            self._wrong(("placement",), f"no chunk on device {named}: leave it out of devices or give it one")

    def _check_size(self, placed: tuple[int, ...]) -> None:
        spec = self.spec
        passes = len(placed) * (3 if spec.split_backward else 2)
        passes += 4 * spec.devices if spec.vocabulary.passes != "none" else 0
        if (count := passes * spec.microbatches) > MOST_OPERATIONS:
            message = f"{passes:,} operations for each make {count:,}: at most {MOST_OPERATIONS:,} can be scheduled"
            self._wrong(("microbatches",), message, spec.microbatches)

    def _check_units(self) -> None:
        """Memory is all in plain numbers or all in quantities; zero is zero in both."""
        plain: list[Place] = []
        united: list[Place] = []
        if "activation" not in self.document.data:  # it counts 1
            plain.append(("activation",))
        for place in _MEMORY:
            value = _at(self.document.data, place)
            for item in value if isinstance(value, list | tuple) else [value]:
                if isinstance(item, str):
                    united.append(place)
                elif item:
                    plain.append(place)
        if plain and united:
            message = f"has no unit, but {spelled(united[0])} has one: give all memory with units, or none"
            self._wrong(plain[0], message, _at(self.document.data, plain[0]))

    def _activation(self, chunks: int) -> dict[str, tuple[float, ...]]:
        given = self.spec.activation
        forward = self._spread(("activation", "forward"), given.forward, chunks, "chunks")
        by_input, by_weight = (
            None if value is None else self._spread(("activation", key), value, chunks, "chunks")
            for key in ("released_by_input_grad", "released_by_weight_grad")
            for value in [getattr(given, key)]
        )
        if by_input is None:
            by_input = tuple(w / 2 for w in forward) if by_weight is None else _rest(forward, by_weight)
        if by_weight is None:
            by_weight = _rest(forward, by_input)
            if any(share < 0 for share in by_weight):
                message = "is more than forward: nothing is left for the weight gradient to release"
                self._wrong(("activation", "released_by_input_grad"), message, given.released_by_input_grad)
        for chunk, (whole, first, second) in enumerate(zip(forward, by_input, by_weight, strict=False)):
            if abs(first + second - whole) > TOLERANCE * max(abs(whole), abs(first), abs(second)):
                message = (
                    f"released_by_input_grad and released_by_weight_grad add up to {first + second:g}, "
                    f"forward is {whole:g}: they must be equal"
                )
                self._wrong(("activation",), message + (f" (chunk {chunk})" if len(set(forward)) > 1 else ""))
                break
        return {
            "activation": forward,
            "released_by_input_grad": by_input,
            "released_by_weight_grad": by_weight,
        }

    def _links(self, placed: tuple[int, ...]) -> tuple[float, ...]:
        given = self.spec.p2p_seconds
        if isinstance(given, tuple):
            return self._spread(("p2p_seconds",), given, len(placed) - 1, "pairs of neighbouring chunks")
        return tuple(0.0 if a == b else given for a, b in pairwise(placed))

    def _vocabulary(self) -> VocabularyPasses | None:
        given = self.spec.vocabulary
        if given.passes == "none":
            return None
        passes: dict[str, tuple[float, ...]] = {}
        for key in ("s_seconds", "t_seconds", "input_forward_seconds", "input_backward_seconds", "kept"):
            value = getattr(given, key)
            if value is None:
                self._wrong(("vocabulary", key), f"missing: {given.passes} has this pass on every device")
            else:
                passes[key] = self._spread(("vocabulary", key), value, self.spec.devices, "devices")
        if self.problems:
            return None
        return VocabularyPasses(
            passes=given.passes,
            barrier_seconds=given.barrier_seconds,
            broadcast_seconds=given.broadcast_seconds,
            **passes,
        )

    def _spread(self, place: Place, value: Figures, count: int, of: str) -> tuple[float, ...]:
        if not isinstance(value, tuple):
            return (value,) * count
        if len(value) != count:
            message = f"has {len(value)} figures for {count} {of}: give one for all, or {count}"
            self._wrong(place, message, value)
        return value

    def _wrong(self, place: Place, message: str, value: object = None) -> None:
        self.problems.append(
            Problem(
                file=self.document.file,
                key=spelled(place),
                value="" if value is None else shown(list(value) if isinstance(value, tuple) else value),
                message=message,
                line=self.document.line(place),
            )
        )

    def _check(self) -> None:
        if self.problems:
            raise SpecError(sorted(self.problems, key=lambda problem: problem.line or 0))


_MEMORY: tuple[Place, ...] = (
    ("activation", "forward"),
    ("activation", "released_by_input_grad"),
    ("activation", "released_by_weight_grad"),
    ("memory_cap",),
    ("vocabulary", "kept"),
)


def _at(data: object, place: Place) -> object:
    for part in place:
        data = data.get(part) if isinstance(data, Mapping) else None
    return data


def _rest(whole: tuple[float, ...], share: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(a - b for a, b in zip(whole, share, strict=False))
