"""The plan document: one JSON file that holds what to run, what it costs, and the proof.

Key order, number format and digests are fixed, so the same plan always has the same bytes. What
follows from a rule is written as the rule; ``planner.plan.expand`` spells it out for any rank.
"""

import difflib
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, ValidationError, model_serializer

from costmodels.architecture import Model
from costmodels.calibration import Calibration
from costmodels.configuration import Configuration, Job
from costmodels.hardware import Cluster
from planner.plan.certificate import Certificate
from planner.plan.errors import KeyPath, PlanError, PlanProblem
from planner.plan.experts import Experts
from planner.plan.ground import PlanGround
from planner.plan.inputs import Inputs
from planner.plan.parallelism import Parallelism, Ranks, Schedule
from planner.plan.prediction import Prediction, Provenance
from planner.plan.reading import parse_json, read_text
from planner.plan.skip import Skip
from planner.plan.stages import Stage
from planner.plan.strict import Strict
from planner.plan.writing import canonical, render, seal

SCHEMA_VERSION = 1

OPTIONAL = ("ground", "experts", "skip")
"""Sections that are absent where a plan does not need them."""


class Plan(Strict):
    """A plan. ``digest`` is the SHA-256 of the canonical JSON of all other keys. ``ground`` where nodes or the links
    between them differ; ``experts`` where they are placed by their loads; ``skip`` is absent where every micro-batch
    runs every stage."""

    schema_version: Literal[1]
    inputs: Inputs
    parallelism: Parallelism
    stages: tuple[Stage, ...]
    ranks: Ranks
    ground: PlanGround | None = None
    schedule: Schedule
    experts: Experts | None = None
    skip: Skip | None = None
    prediction: Prediction
    certificate: Certificate
    provenance: Provenance
    digest: str

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if key not in OPTIONAL or value is not None}

    @classmethod
    def load(cls, path: str | Path) -> "Plan":
        """Read a plan file. ``PlanError`` names every problem: unreadable, not JSON, wrong schema."""
        return cls.loads(read_text(path), file=str(path))

    @classmethod
    def loads(cls, text: str, file: str = "plan") -> "Plan":
        """Read the text of a plan; ``file`` names it in errors."""
        return cls.from_json(parse_json(text, file), file)

    @classmethod
    def from_json(cls, value: object, file: str = "plan") -> "Plan":
        """A plan from parsed JSON. Types and ranges are checked, not what the numbers say: that is
        ``planner.validate``'s. ``PlanError`` with every key that does not fit the schema."""
        try:
            return cls.model_validate_json(canonical(value))
        except ValidationError as error:
            raise PlanError(_problems(error, value, file)) from None
        except (TypeError, ValueError, RecursionError) as error:
            problem = PlanProblem(file=file, path=(), value="", message=f"not a JSON value: {error}")
            raise PlanError([problem]) from None

    def save(self, path: str | Path) -> None:
        """Write the plan; a file that was there is replaced whole or not at all."""
        target, content = Path(path), self.text().encode("ascii")
        if target.exists() and not target.is_file():  # a pipe or a terminal
            target.write_bytes(content)
            return
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            draft.write_bytes(content)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)

    def text(self) -> str:
        """The file's content."""
        return render(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The document as JSON values, in the order of the file."""
        return self.model_dump(mode="json")

    def sealed(self) -> "Plan":
        """The same plan with both digests computed anew."""
        return Plan.from_json(seal(self.to_json()))

    def cluster(self) -> Cluster:
        return self.inputs.cluster.cluster()

    def model(self) -> Model:
        return self.inputs.model.model()

    def priced_model(self) -> Model:
        """The model as it is priced: with the load of each layer's busiest expert rank, where that is known.
        ``ValueError`` where the section ``experts`` does not suit the model."""
        return self.model() if self.experts is None else self.experts.loaded(self.model())

    def job(self) -> Job:
        return self.inputs.job

    def calibration(self) -> Calibration:
        """``CalibrationError`` when the figures of ``provenance`` are no calibration."""
        figures = {name: figure.model_dump() for name, figure in self.provenance.figures.items()}
        return Calibration.from_mapping({"name": self.inputs.calibration.name, "figures": figures})

    def configuration(self) -> Configuration:
        return self.parallelism.configuration()

    def calibrations(self) -> tuple[Calibration, ...]:
        """Of the machines of ``ground``; ``CalibrationError`` as ``calibration``."""
        assert self.ground is not None
        own, shared = self.ground.figures or {}, self.calibration()
        return tuple(own[k].calibration() if k in own else shared for k in range(len(self.ground.machines)))

    def capacity_bytes(self, stage: int) -> float:
        """What a job may use of each GPU of a stage."""
        return self.cluster().capacity_bytes if self.ground is None else self.ground.capacity_bytes(stage)

    def peak_flops(self) -> float:
        """Dense peak of a GPU at the job's precision, in the mean where they differ."""
        job = self.inputs.job
        return (
            self.inputs.cluster.gpu.peak_flops[job.precision]
            if self.ground is None
            else self.ground.mean_peak_flops(job)
        )

    def boundaries(self) -> tuple[int, ...]:
        """Where the chain of embedding, layers, prediction layers and head is cut: chunks + 1 indices."""
        chunks = sorted((chunk for stage in self.stages for chunk in stage.chunks), key=lambda c: c.chunk)
        cut = [0]
        for chunk in chunks:
            cut.append(cut[-1] + chunk.items)
        return tuple(cut)

    def vocabulary_rows(self) -> tuple[int, ...] | None:
        """Rows of each embedding on every rank of the stages of a vocabulary split over them, where these hold
        shares of their own; None where all hold the same, or the vocabulary is whole."""
        rows = tuple(stage.vocabulary.output_rows for stage in self.stages)
        return rows if self.parallelism.vocabulary in ("vocab-1", "vocab-2") and len(set(rows)) > 1 else None


def plan_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the plan document."""
    schema = Plan.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _locate(value: Any, steps: Sequence[int | str]) -> tuple[KeyPath, Any]:
    """The part of ``steps`` that exists in ``value`` (a missing key at the end included), and what
    stands there. Steps that only name a variant of the schema are left out."""
    path: list[int | str] = []
    for number, step in enumerate(steps):
        here = range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
        if step in here:
            value = value[step]
        elif isinstance(value, dict) and number == len(steps) - 1:
            value = None
        else:
            continue
        path.append(step)
    return tuple(path), value


def _problems(error: ValidationError, value: object, file: str) -> list[PlanProblem]:
    found = []
    for detail in error.errors(include_url=False, include_context=False):
        path, there = _locate(value, detail["loc"])
        message, shown = detail["msg"], "" if isinstance(there, dict | list) else repr(there)[:60]
        if detail["type"] == "missing":
            message, shown = "missing; every plan has it", ""
        elif detail["type"] == "extra_forbidden":
            message = _unknown(str(path[-1]))
        found.append(PlanProblem(file=file, path=path, value=shown, message=message))
    return list(dict.fromkeys(found))


def _unknown(key: str) -> str:
    near = difflib.get_close_matches(key, _known_keys(), n=1)
    return f"unknown key; did you mean {near[0]!r}?" if near else "unknown key; remove it"


@cache
def _known_keys() -> tuple[str, ...]:
    schema = Plan.model_json_schema()
    parts = [schema, *schema["$defs"].values()]
    return tuple(sorted({name for part in parts for name in part.get("properties", ())}))
