"""The ground of a plan: whether its configuration can stand there, and the price of every row."""

import math

from costmodels.calibration import CalibrationError
from costmodels.ground import undominated
from costmodels.ground_step import GroundModel
from costmodels.price import StepPrice
from planner.plan import Plan
from planner.validate.findings import Report

PATH = "/ground"


def check_ground(plan: Plan, report: Report) -> None:
    """Counts, figures and positions; nothing is priced."""
    section = plan.ground
    if section is None:
        return
    for problem in section.ground().problems(plan.configuration(), plan.job()):
        report.add("ground", PATH, problem)
    report.same("ground.rows", f"{PATH}/row_seconds", len(section.row_seconds), len(section.rows), "one of each row")
    report.require(section.shown < len(section.rows), "ground.shown", f"{PATH}/shown", "is a row", section.shown)
    if not report.clean:
        return
    machines = range(len(section.machines))
    used = sorted({machine for row in section.rows for machine in row.machines})
    report.same("ground.machines", f"{PATH}/machines", used, [*machines], "some stage stands on each")
    for index in section.figures or {}:
        report.require(index in machines, "ground.figures", f"{PATH}/figures/{index}", "is of no machine", index)
    try:
        plan.calibrations()
    except CalibrationError as error:
        report.add("ground.figures", f"{PATH}/figures", str(error))
    report.same(
        "ground.rows",
        f"{PATH}/rows",
        undominated(section.ground()),
        [*range(len(section.rows))],
        "no row covers another",
    )
    own = section.rows[section.shown]
    degrees, said = plan.parallelism, "that of the row that is shown"
    report.same("ground.shown", "/parallelism/microbatches", degrees.microbatches, own.microbatches, said)
    _check_machines(plan, report)


def _check_machines(plan: Plan, report: Report) -> None:
    section, precision = plan.ground, plan.job().precision
    assert section is not None
    like = plan.cluster()
    for name in ("gpu", "gpus_per_node", "domain_gpus", "scale_up", "reserve_bytes"):
        own, said = getattr(section.machines[0], name), "as in inputs.cluster, which stands for all"
        report.require(own == getattr(like, name), "ground.machines", f"{PATH}/machines/0/{name}", said, str(own))
    for index, machine in enumerate(section.machines):
        path = f"{PATH}/machines/{index}"
        report.require(
            precision in machine.gpu.peak_flops,
            "ground.machines",
            f"{path}/gpu/peak_flops",
            f"the GPU has no {precision}, which the job trains in",
        )
        nodes = (machine.nodes, machine.gpus_per_node)
        report.same("ground.machines", f"{path}/nodes", nodes, (like.nodes, like.gpus_per_node), "the job's nodes")
        report.require(
            0 <= machine.reserve_bytes < machine.gpu.memory_bytes,
            "ground.machines",
            f"{path}/reserve_bytes",
            "leaves some of the GPU's memory",
            machine.reserve_bytes,
        )
    links = [*section.states, *(edge for row in section.rows for edge in row.edges)]
    links += [link for machine in section.machines for link in (machine.scale_up, machine.scale_out)]
    sound = all(0 < link.bytes_per_second < math.inf and 0 <= link.latency_seconds < math.inf for link in links)
    report.require(sound, "ground.links", PATH, "every link carries something and takes a finite time")


def price_ground(plan: Plan, report: Report) -> StepPrice:
    """The price of the row that is shown; findings where another is slower, or a machine's memory too small."""
    section = plan.ground
    assert section is not None
    inputs = (plan.priced_model(), plan.job(), plan.configuration(), section.ground())
    price = GroundModel(*inputs, plan.calibrations()).price(plan.boundaries())
    by_row = {one.row: one.step for one in price.rows}
    for row, found in enumerate(section.row_seconds):
        report.same("price.rows", f"{PATH}/row_seconds/{row}", found, by_row[row].step_seconds, "as priced anew")
    slowest = max(one.step_seconds for one in by_row.values())
    report.require(
        by_row[section.shown].step_seconds >= slowest * (1 - 1e-12),
        "ground.shown",
        f"{PATH}/shown",
        f"is the slowest row, of {slowest!r} seconds",
        by_row[section.shown].step_seconds,
    )
    report.require(
        price.over_bytes <= 0, "memory.fits", f"{PATH}/rows", "exceed a machine's memory, in bytes", price.over_bytes
    )
    return by_row[section.shown]
