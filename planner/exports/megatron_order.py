"""The order of ranks as Megatron (megatron-core 0.16) counts them.

``parallel_state.initialize_model_parallel`` takes one order for dense and expert groups: tp-cp-ep-dp-pp, or
tp-cp-ep-pp-dp with ``--use-tp-pp-dp-mapping``. The dense ranks have ep = 1; the experts' have cp = 1 and tensor groups
of ``--expert-tensor-parallel-size``. With pp last a rank is of one stage in both readings, whatever ep and etp.
Otherwise it is where etp ep = tp cp, and Megatron asserts as much: edp = dp. For a dense model, which has these groups
too, it takes etp = tp unless told another: with cp > 1 it needs tp cp.
"""

from planner.exports.megatron_layout import Arguments
from planner.exports.rank_order import pipelines_first
from planner.plan import Plan


def megatron_order(plan: Plan) -> tuple[Arguments, list[str]]:
    """The options that make Megatron count ranks as the plan does, and why it cannot where it cannot."""
    degrees = plan.parallelism
    if not pipelines_first(plan):
        return {}, []
    dense, experts = degrees.tp * degrees.cp, degrees.etp * degrees.ep
    options: Arguments = {"use-tp-pp-dp-mapping": True}
    if not plan.model().is_moe:
        return options | ({"expert-tensor-parallel-size": dense} if degrees.cp > 1 else {}), []
    if experts == dense:
        return options, []
    return {}, [
        f"order={plan.ranks.order} with etp x ep = {experts} and tp x cp = {dense}: unless pp comes last Megatron "
        f"needs as many replicas of the experts (edp={degrees.edp}) as pipelines (dp={degrees.dp}); count ranks "
        "tp-cp-dp-pp"
    ]
