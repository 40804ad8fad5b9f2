"""What one given configuration takes: no search."""

from dataclasses import dataclass
from pathlib import Path

from costmodels.architecture import Model
from costmodels.calibration import Calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.flops import mfu
from costmodels.hardware import Cluster
from costmodels.price import StepPrice
from costmodels.step_price import price_cut
from planner.best_schedule import quick_order
from planner.expert_training import ExpertLoads, check_loads, priced_model, renumber_all
from planner.hosts.pricing import HostPricing, check_placeable, unlike_links
from planner.pricing import Pricing, calibration_for
from planner.space import IllegalConfiguration, check
from planner.splits import Split, even_boundaries, redistributed_boundaries
from planner.uncertainty import Uncertainty, facets, uncertainty_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Modelled figures of one configuration; ``feasible`` says whether every stage fits in memory.

    ``shortfall_bytes``: how far the fullest stage is over its capacity, 0 when feasible.
    ``boundaries``: where the chain is cut, ``vocabulary_rows``: the stages' shares of a split vocabulary, None where
    all hold the same (see ``costmodels.step_price.price_step``). ``hosts``: names of the nodes in the order of ranks,
    where their links differ. ``facets``: what kind
    of configuration it is (see ``planner.uncertainty``).
    """

    configuration: Configuration
    boundaries: tuple[int, ...]
    vocabulary_rows: tuple[int, ...] | None
    hosts: tuple[str, ...] | None
    price: StepPrice
    tokens_per_second_per_gpu: float
    mfu: float
    capacity_bytes: float
    facets: tuple[str, ...]

    @property
    def step_seconds(self) -> float:
        return self.price.step_seconds

    @property
    def peak_memory_bytes(self) -> float:
        return self.price.peak_bytes

    @property
    def shortfall_bytes(self) -> float:
        return max(0.0, self.peak_memory_bytes - self.capacity_bytes)

    @property
    def feasible(self) -> bool:
        return self.shortfall_bytes == 0.0

    @property
    def uncertainty(self) -> Uncertainty:
        """How far published runs of this kind were from their predictions."""
        return uncertainty_of(self.facets)


def predict(
    cluster: Cluster,
    model: Model,
    job: Job,
    configuration: Configuration,
    *,
    split: Split = "best",
    boundaries: tuple[int, ...] | None = None,
    calibration: Calibration | Path | None = None,
    expert_loads: ExpertLoads | None = None,
) -> Prediction:
    """Price ``configuration``, its layers cut for the least time, as evenly as Megatron does, or by another
    rule of ``planner.splits`` (balanced where the rule has none), or at ``boundaries``. ``expert_loads``: experts are
    placed by them, and every layer priced with its busiest rank's load.

    A configuration that does not fit in memory is priced all the same and marked infeasible. Raises
    ``IllegalConfiguration`` when a degree does not divide what it must. Where ``schedule`` is ``best`` its order is
    made as quickly as in a search.
    """
    check(cluster, model, job, configuration)
    priced = model
    if expert_loads is not None:
        check_loads(model, job, expert_loads)
        priced = priced_model(model, renumber_all(expert_loads, [configuration.ep]))
    network = unlike_links(cluster)
    inputs = (cluster, priced, job, calibration_for(cluster, job, calibration), Columns.of([configuration]))
    if network is not None:
        check_placeable(configuration)
    pricing = Pricing(*inputs) if network is None else HostPricing(*inputs, network)
    if boundaries is None and split == "even":
        boundaries = even_boundaries(model, configuration)
    elif boundaries is None and split == "redistributed":
        boundaries = redistributed_boundaries(model, job, configuration)
    rows = None
    if boundaries is None and split == "best":
        boundaries, rows = pricing.best_boundaries(0), pricing.rows(0)
    elif boundaries is None:
        boundaries = pricing.balanced_boundaries(0)
    step = pricing.step.running(None, rows)
    if configuration.schedule == "best":
        step = pricing.step.running(quick_order(step, 0, boundaries), rows)
    price, hosts = price_cut(step, 0, boundaries), None
    if isinstance(pricing, HostPricing):
        pricing.place(0, boundaries)
        price, hosts = pricing.price(0), pricing.hosts(0)
    return Prediction(
        configuration=configuration,
        boundaries=boundaries,
        vocabulary_rows=rows,
        hosts=hosts,
        price=price,
        tokens_per_second_per_gpu=job.tokens / price.step_seconds / cluster.gpus,
        mfu=mfu(model, job, cluster, price.step_seconds),
        capacity_bytes=cluster.capacity_bytes,
        facets=facets(cluster, model, job),
    )


__all__ = ["IllegalConfiguration", "Prediction", "Split", "even_boundaries", "predict"]
