"""The prices that a plan's figures come from, worked out again."""

from costmodels.columns import Columns
from costmodels.ground_step import GroundModel
from costmodels.step import StepModel
from planner.plan.document import Plan
from planner.plan.order import order_of


def step_of(plan: Plan) -> StepModel:
    """Of the plan's configuration running its order; on unlike ground those of the row that is shown."""
    if plan.ground is not None:
        inputs = (plan.priced_model(), plan.job(), plan.configuration(), plan.ground.ground())
        return GroundModel(*inputs, plan.calibrations()).row_step(plan.ground.shown)
    columns = Columns.of([plan.configuration()])
    step = StepModel(plan.priced_model(), plan.cluster(), plan.job(), plan.calibration(), columns)
    return step.running(order_of(plan), plan.vocabulary_rows())
