"""How the ranks of a configuration lie on hosts: rows of pipelines, columns of stages.

Ranks run tp fastest, then cp, dp, pp, and fill one host (a node, or an NVLink domain of several) after the other. Where
stages are whole hosts, host k holds row k mod rows of stage k // rows; where hosts are whole stages, each holds several
stages of every pipeline, and there is one row.
"""

from dataclasses import dataclass

from costmodels.configuration import Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class HostGrid:
    """``rows`` x ``columns`` hosts of ``host_gpus``; ``stages_per_host`` stages lie in one column. ``spanned``: how
    many consecutive rows one pipeline takes, ``group``: the largest tensor, context or expert group; ``exchanges``:
    whether that is of experts, in which all talk to all."""

    host_gpus: int
    rows: int
    columns: int
    stages_per_host: int
    spanned: int
    group: int
    exchanges: bool
    pipelines: int


def host_grid(configuration: Configuration, host_gpus: int) -> HostGrid | None:
    """The grid of ``configuration`` on hosts of ``host_gpus``; None where some part straddles hosts."""
    c, inner = configuration, configuration.tp * configuration.cp
    stage, experts = inner * c.dp, c.ep * c.etp
    if c.gpus % host_gpus:
        return None
    if stage % host_gpus:
        whole = host_gpus % stage == 0 and c.pp % (host_gpus // stage) == 0
        if not whole:
            return None
        per_host = host_gpus // stage
        return HostGrid(
            host_gpus=host_gpus,
            rows=1,
            columns=c.pp // per_host,
            stages_per_host=per_host,
            spanned=1,
            group=1,
            exchanges=False,
            pipelines=c.dp,
        )
    if any(size % host_gpus and host_gpus % size for size in (inner, experts)):
        return None
    rows = stage // host_gpus
    spanned, of_experts = max(1, inner // host_gpus), max(1, experts // host_gpus)
    group = max(spanned, of_experts)
    if group % spanned or rows % group:
        return None
    return HostGrid(
        host_gpus=host_gpus,
        rows=rows,
        columns=c.pp,
        stages_per_host=1,
        spanned=spanned,
        group=group,
        exchanges=of_experts > 1,
        pipelines=c.dp,
    )
