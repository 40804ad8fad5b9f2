"""Experts of a model in a plan: what each got of the tokens, and where each stands."""

from typing import Annotated

from pydantic import Field

from costmodels.architecture import Model
from costmodels.expert_load import loaded_model
from planner.plan.strict import Amount, Count, Degree, Index, Strict

Factor = Annotated[float, Field(ge=1.0, le=1e6)]
"""Load of the busiest rank over the mean."""


class ExpertLoadsInput(Strict):
    """``tokens`` [layers][experts] that each expert got (any unit, only shares count); ``layers``: numbers of those
    layers, prediction layers counting on behind the decoder."""

    layers: tuple[Index, ...]
    tokens: tuple[tuple[Count | Amount, ...], ...]


class ExpertGroup(Strict):
    """Ranks that share the experts of a layer: ``size`` of them, ``stride`` apart. Of a group
    ``ranks_per_domain`` share an NVLink domain (in its least filled one) and ``domains`` are reached."""

    size: Degree
    stride: Degree
    ranks_per_domain: Degree
    domains: Degree


class OtherPlacement(Strict):
    """What the experts come to with another ``ep``, which an alternative has: load of the busiest rank over the mean
    in each layer."""

    ep: Degree
    imbalance: tuple[Factor, ...]


class Experts(Strict):
    """Experts by load. In layer ``layers[k]`` the expert with the new number p is the old
    ``new_to_old[k][p]``, and the rank at ``ep`` coordinate r holds the new numbers r E / ep and on, as Megatron deals
    them out. By layer: ``imbalance`` is the load of the busiest rank over the mean, ``contiguous`` the same with the
    old numbers, ``lower_bound`` what no placement of E / ep experts a rank is below."""

    group: ExpertGroup
    layers: tuple[Index, ...]
    imbalance: tuple[Factor, ...]
    contiguous: tuple[Factor, ...]
    lower_bound: tuple[Factor, ...]
    new_to_old: tuple[tuple[Index, ...], ...]
    others: tuple[OtherPlacement, ...]

    def loaded(self, model: Model) -> Model:
        """``model`` as it is priced: each layer with its busiest rank's load. Raises ``ValueError`` where the figures
        do not suit the model."""
        factors = {other.ep: other.imbalance for other in self.others}
        return loaded_model(model, {**factors, self.group.size: self.imbalance})
