"""When each operation of a pipeline runs, what is alive meanwhile, and how soon it could end at best."""

from costmodels.timeline.any_split import any_split_bound, stage_load_caps
from costmodels.timeline.bounds import makespan_bound
from costmodels.timeline.least_alive import least_alive
from costmodels.timeline.occupancy import memory_over_time, peak_activation, peak_live_counts, peak_with_softmaxes
from costmodels.timeline.operations import (
    BACKWARD,
    FORWARD,
    IDLE,
    INPUT_BACKWARD,
    INPUT_FORWARD,
    INPUT_GRAD,
    OUTPUT_S,
    OUTPUT_T,
    VOCABULARY,
    WEIGHT_GRAD,
    Order,
    order_of_rows,
)
from costmodels.timeline.orders import schedule_order
from costmodels.timeline.prefix import prefix_bounds
from costmodels.timeline.schedules import (
    NAMED_SCHEDULES,
    SCHEDULES,
    VOCABULARY_METHODS,
    NamedSchedule,
    Placement,
    Schedule,
    VocabularyMethod,
    device_of_chunk,
)
from costmodels.timeline.simulation import Timeline, device_end_seconds, makespan_seconds, simulate
from costmodels.timeline.stage_bounds import least_sums, stage_bounds
from costmodels.timeline.vocabulary import VocabularySeconds
from costmodels.timeline.vocabulary_orders import vocabulary_order

__all__ = [
    "BACKWARD",
    "FORWARD",
    "IDLE",
    "INPUT_BACKWARD",
    "INPUT_FORWARD",
    "INPUT_GRAD",
    "NAMED_SCHEDULES",
    "OUTPUT_S",
    "OUTPUT_T",
    "SCHEDULES",
    "VOCABULARY",
    "VOCABULARY_METHODS",
    "WEIGHT_GRAD",
    "NamedSchedule",
    "Order",
    "Placement",
    "Schedule",
    "Timeline",
    "VocabularyMethod",
    "VocabularySeconds",
    "any_split_bound",
    "device_end_seconds",
    "device_of_chunk",
    "least_alive",
    "least_sums",
    "makespan_bound",
    "makespan_seconds",
    "memory_over_time",
    "order_of_rows",
    "peak_activation",
    "peak_live_counts",
    "peak_with_softmaxes",
    "prefix_bounds",
    "schedule_order",
    "simulate",
    "stage_bounds",
    "stage_load_caps",
    "vocabulary_order",
]
