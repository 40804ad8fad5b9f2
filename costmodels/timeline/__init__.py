"""When each operation of a pipeline runs, what is alive meanwhile, and how soon it could end at best."""

from costmodels.timeline.any_split import any_split_bound, stage_load_caps
from costmodels.timeline.bounds import makespan_bound
from costmodels.timeline.occupancy import memory_over_time, peak_activation, peak_live_counts
from costmodels.timeline.orders import (
    BACKWARD,
    FORWARD,
    INPUT_BACKWARD,
    INPUT_FORWARD,
    SCHEDULES,
    VOCABULARY,
    VOCABULARY_METHODS,
    WEIGHT_GRAD,
    Order,
    Schedule,
    VocabularyMethod,
    schedule_order,
)
from costmodels.timeline.prefix import prefix_bounds
from costmodels.timeline.simulation import Timeline, device_end_seconds, makespan_seconds, simulate
from costmodels.timeline.stage_bounds import least_sums, stage_bounds
from costmodels.timeline.vocabulary import VocabularySeconds
from costmodels.timeline.vocabulary_orders import vocabulary_order

__all__ = [
    "BACKWARD",
    "FORWARD",
    "INPUT_BACKWARD",
    "INPUT_FORWARD",
    "SCHEDULES",
    "VOCABULARY",
    "VOCABULARY_METHODS",
    "WEIGHT_GRAD",
    "Order",
    "Schedule",
    "Timeline",
    "VocabularyMethod",
    "VocabularySeconds",
    "any_split_bound",
    "device_end_seconds",
    "least_sums",
    "makespan_bound",
    "makespan_seconds",
    "memory_over_time",
    "peak_activation",
    "peak_live_counts",
    "prefix_bounds",
    "schedule_order",
    "simulate",
    "stage_bounds",
    "stage_load_caps",
    "vocabulary_order",
]
