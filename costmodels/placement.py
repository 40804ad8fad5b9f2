"""Which schedule a configuration runs, and where it places the chunks of the model."""

import numpy as np
from numpy.typing import NDArray

from costmodels.configuration import V_SCHEDULES, Configuration
from costmodels.timeline import Order, Placement, Schedule, device_of_chunk, schedule_order, vocabulary_order


def placement_of(configuration: Configuration) -> Placement:
    """The rule from chunks to stages."""
    if configuration.schedule in V_SCHEDULES:
        return "v"
    return "linear" if configuration.vp == 1 else "interleaved"


def stage_of_chunk(configuration: Configuration) -> NDArray[np.int32]:
    """[pp x vp]: the stage that holds each chunk."""
    return device_of_chunk(placement_of(configuration), configuration.pp, configuration.vp)


def schedule_of(configuration: Configuration) -> Schedule:
    """The schedule's name; where the vocabulary is split, of the plain schedule it goes with."""
    if configuration.schedule == "1f1b" and configuration.vp > 1:
        return "interleaved-1f1b"
    return configuration.schedule


def order_of(configuration: Configuration, microbatches: int) -> Order:
    """The operations of every stage."""
    if configuration.vocabulary != "whole":
        return vocabulary_order(configuration.vocabulary, configuration.pp, microbatches)
    return schedule_order(schedule_of(configuration), configuration.pp, configuration.vp, microbatches)
