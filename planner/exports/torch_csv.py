"""The schedule for ``torch.distributed.pipelining`` (torch 2.13).

One row a rank of the pipeline, one cell an operation, ``{stage}{F|B|I|W}{microbatch}``: forward, whole
backward, input gradient, weight gradient. PyTorch's stage is our chunk; which rank holds it follows from
the row it stands in. ``_PipelineScheduleRuntime(stages, n_microbatches, loss_fn)._load_csv(path,
format="compute_only")`` reads it and adds sends and receives itself. Times are not part of it.
"""

from costmodels.timeline import Order
from planner.exports.orders import LETTERS, device_operations, vocabulary_passes
from planner.exports.targets import ExportRefused
from planner.plan import Plan
from planner.plan.order import order_of


def files(plan: Plan) -> dict[str, str]:
    return {"schedule.csv": schedule_csv(order_of(plan))}


def schedule_csv(order: Order) -> str:
    """The rows of ``order``; raises ``ExportRefused`` when it has passes that no cell can name."""
    if reasons := refusals(order):
        raise ExportRefused("torch-csv", reasons)
    rows = (
        ",".join(f"{chunk}{LETTERS[kind]}{microbatch}" for kind, chunk, microbatch in device_operations(order, device))
        for device in range(order.devices)
    )
    return "".join(f"{row}\n" for row in rows)


def refusals(order: Order) -> list[str]:
    """What of ``order`` the format has no word for."""
    passes = vocabulary_passes(order)
    if not passes:
        return []
    return [
        f"schedule {order.schedule}: torch pipelining has the passes F, B, I and W; it cannot express "
        f"{', '.join(passes)} of a vocabulary split over the stages; plan with vocabulary=whole"
    ]
