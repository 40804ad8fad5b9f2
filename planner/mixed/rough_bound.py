"""What no member of a family is below by the passes of its layers alone: quick bounds on all families.

Neither memory nor the states of replicas count, so that only the degrees that shape a layer matter, of which there are
few: ``planner.mixed.bounds`` with those seconds alone. With sharded states any share of a load may be its forward
pass.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from costmodels.architecture import Model
from costmodels.calibration import Calibration
from costmodels.configuration import Job
from costmodels.sharding import Column
from costmodels.step import StepModel
from planner.mixed.bounds import Scale, ramp_bounds, shares_of, slowness_of
from planner.mixed.islands import Islands
from planner.mixed.space import Families


def rough_bounds(
    islands: Islands, families: Families, calibrations: Sequence[Calibration], model: Model, job: Job
) -> Column:
    """[families]: seconds below the step of every member."""
    columns = families.columns
    one = np.ones(len(columns), dtype=np.int64)
    alike, index = replace(columns, pp=one, dp=columns.ep * columns.etp, zero=0 * one).distinct()
    steps = [StepModel(model, g, job, own, alike) for g, own in zip(islands.groups, calibrations, strict=True)]
    share = shares_of(steps[0], [step.kept.forward_seconds + step.kept.backward_seconds for step in steps])
    pairs = [slowness_of(step, share) for step in steps]
    slowness = np.stack([slow[index] for slow, _ in pairs])
    forward = np.stack([np.where(columns.zero >= 2, 1.0, most[index]) for _, most in pairs])
    found = np.full(len(families), np.inf)
    for number in range(len(families.bundlings)):
        rows = np.flatnonzero(families.bundling == number)
        if len(rows):
            found[rows] = ramp_bounds(islands, families, calibrations, slowness, forward, rows, job)
    return Scale.of(islands, families, calibrations).step(slice(None), found)
