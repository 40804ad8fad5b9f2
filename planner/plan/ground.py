"""What the stages of a plan stand on, where nodes or the links between them differ."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from costmodels.calibration import Calibration
from costmodels.configuration import Job
from costmodels.ground import Ground, PipelineRow
from costmodels.ground_step import GroundPrice
from costmodels.hardware import Link
from planner.plan.cluster import ClusterInput
from planner.plan.prediction import FigureSource
from planner.plan.strict import Amount, Index, Strict


class OwnFigures(Strict):
    """Figures of a machine whose GPU is not that of ``inputs.calibration``, with where each comes from."""

    name: str
    figures: dict[str, FigureSource]

    def calibration(self) -> Calibration:
        """``CalibrationError`` when the figures are no calibration."""
        return Calibration.from_mapping({"name": self.name, "figures": self.model_dump(mode="json")["figures"]})


class PlanGround(Strict):
    """``kind``: whether equal nodes are joined by ``links`` as attained, or node ``groups`` differ.

    ``machines``, ``states`` and ``rows`` are those of ``costmodels.ground.Ground``; a row that another covers counts
    among its replicas. A machine's figures are ``inputs.calibration`` unless ``figures`` has its index.
    ``row_seconds``: the step with each row alone, but that all wait for its gradients; ``stages`` of the plan are those
    of row ``shown``, the slowest. ``listed_seconds``: of ``links``, the step with the hosts as the cluster lists them.
    ``inputs.cluster`` has the job's nodes as though all were like ``machines[0]``.
    """

    kind: Literal["links", "groups"]
    machines: tuple[ClusterInput, ...]
    figures: dict[Index, OwnFigures] | None = None
    states: tuple[Link, ...]
    rows: tuple[PipelineRow, ...]
    row_seconds: tuple[Amount, ...]
    shown: Index
    listed_seconds: Amount | None = None

    @classmethod
    def of(
        cls,
        kind: Literal["links", "groups"],
        ground: Ground,
        price: GroundPrice,
        calibrations: Sequence[Calibration],
    ) -> "PlanGround":
        """``price`` is that of ``ground``, covered rows counted with others; ``calibrations`` of its machines, of which
        the first is the plan's own."""
        others = {k: figures for k, figures in enumerate(calibrations) if figures.name != calibrations[0].name}
        return cls(
            kind=kind,
            machines=tuple(ClusterInput.of(machine) for machine in ground.machines),
            figures={
                k: OwnFigures(
                    name=own.name, figures={name: FigureSource(**asdict(one)) for name, one in own.figures.items()}
                )
                for k, own in others.items()
            }
            or None,
            states=ground.states,
            rows=ground.rows,
            row_seconds=tuple(one.step.step_seconds for one in price.rows),
            shown=next(one.row for one in price.rows if one.step is price.step),
        )

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}

    def ground(self) -> Ground:
        machines = tuple(machine.cluster() for machine in self.machines)
        return Ground(machines=machines, states=self.states, rows=self.rows)

    def capacity_bytes(self, stage: int) -> float:
        """Of each GPU of a stage of the row that is shown."""
        return self.machines[self.rows[self.shown].machines[stage]].cluster().capacity_bytes

    def mean_peak_flops(self, job: Job) -> float:
        """Dense peak of a GPU of the job at its precision, in the mean over all pipelines and stages."""
        peaks = [machine.gpu.peak_flops[job.precision] for machine in self.machines]
        of_rows = [(row.replicas, sum(peaks[k] for k in row.machines) / len(row.machines)) for row in self.rows]
        return sum(n * peak for n, peak in of_rows) / sum(n for n, _ in of_rows)


PROOF = {
    "links": "; every assignment of hosts to ranks",
    "groups": "; every chain of node groups side by side, micro-batches shared in any way",
}
"""What else the bound of a plan with a ground holds for, by its kind."""
