"""Where the calibrated numbers come from, and whether those the plan was priced with are they."""

import re

from costmodels.calibration import CalibrationError
from planner.plan import Plan
from planner.validate.findings import Report


def check_provenance(plan: Plan, report: Report) -> None:
    provenance = plan.provenance
    report.require(
        re.fullmatch(r"\d+(\.\d+)*([a-z.+-][0-9a-z.+-]*)?", provenance.version) is not None,
        "provenance.version",
        "/provenance/version",
        "is a version such as 1.2.0",
        provenance.version,
    )
    values = {name: figure.value for name, figure in provenance.figures.items()}
    report.same(
        "provenance.values",
        "/inputs/calibration/values",
        plan.inputs.calibration.values,
        values,
        "the figures of the provenance, all of them",
    )
    try:
        plan.calibration()
    except CalibrationError as error:
        report.add("provenance.figures", "/provenance/figures", str(error))
