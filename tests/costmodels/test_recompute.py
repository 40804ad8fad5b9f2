"""What each module drops and redoes, counted by hand; levels as text; deeper levels against shallower ones.

Bytes a token, bf16, tp = 1, from Megatron-Core's modules: a checkpointed module keeps its input; a module
that discards its output keeps what it computes the output from.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodels.architecture import Model
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.items import ItemCosts, item_costs
from costmodels.operators import System
from costmodels.recompute import (
    MODULES,
    canonical,
    default_levels,
    first_layers,
    level_of,
    modules_of,
    of_some_layers,
    recomputed_layers,
)
from tests.bare import bare_calibration, bare_cluster
from tests.machines import dense_model, mla, moe_model

H, S = 512, 2048
MOE = Configuration(ep=4, mbs=2)
T = 2 * S


def costs(
    model: Model, levels: tuple[str, ...], configuration: Configuration = MOE, resource: str = "flops", **job: object
) -> ItemCosts:
    """Seconds are FLOPs, or bytes moved or sent where ``resource`` says so."""
    machine = bare_cluster(**{resource: 1.0})  # type: ignore[arg-type]
    task = Job(**{"global_batch": 64, "sequence_length": S, **job})  # type: ignore[arg-type]
    system = System(cluster=machine, calibration=bare_calibration(), precision=task.precision)
    return item_costs(model, task, Columns.of([configuration]).shards()[0], system, levels)


# 8 heads of 96 (query, key) and 64 (value) from ranks 256 and 128 with 32 rotary; feed-forward 2,048;
# experts of 1,024, two a token, and one shared
DROPPED = {
    "layernorm": (2 * H, 2 * (2 * H)),  # before attention; and before the router
    "mla_up_proj": (2 * 8 * (96 + 96 + 64) + 2 * (256 + 128),) * 2,  # q, k, v and the normalised ranks
    "mlp": (2 * H + 2 * 3 * 2048, 0),  # normalised input, two halves of the gate, their product
    "moe": (0, 4 * 8 + 2 * 2 * (H + 3 * 1024) + 2 * 3 * 1024),
    "moe_act": (0, 2 * 2 * 1024),
    "shared_experts": (0, 2 * 3 * 1024),
    "core_attn": (0, 0),
}
# multiply-adds a token; layer norms cost none
REDONE = {
    "layernorm": (0, 0),
    "mla_up_proj": (256 * 8 * 96 + 128 * 8 * (64 + 64),) * 2,
    "mlp": (3 * H * 2048, 0),
    "moe": (0, H * 8 + 2 * 3 * H * 1024 + 3 * H * 1024),
    "moe_act": (0, 0),
    "shared_experts": (0, 3 * H * 1024),
}


@pytest.mark.parametrize("module", DROPPED)
@pytest.mark.parametrize("layer", [0, 1], ids=["dense", "moe"])
def test_bytes_that_a_module_drops(module: str, layer: int) -> None:
    found = costs(moe_model(attention=mla()), ("none", level_of([module])))
    dropped = found.saved_bytes[0, 1 + layer, 0] - found.saved_bytes[1, 1 + layer, 0]
    assert dropped == T * DROPPED[module][layer]


@pytest.mark.parametrize("module", REDONE)
@pytest.mark.parametrize("layer", [0, 1], ids=["dense", "moe"])
def test_flops_that_a_module_redoes(module: str, layer: int) -> None:
    found = costs(moe_model(attention=mla()), (level_of([module]),))
    assert found.recompute_seconds[0, 1 + layer, 0] == pytest.approx(2.0 * T * REDONE[module][layer])


def test_modules_of_a_layer_add_up() -> None:
    """The union drops the sum of what its modules drop, and rebuilds one half of the layer at a time."""
    found = costs(moe_model(attention=mla()), ("none", "layernorm+mla_up_proj+moe_act"))
    norms, projection, activation = (DROPPED[name][1] for name in ("layernorm", "mla_up_proj", "moe_act"))
    assert found.saved_bytes[0, 2, 0] - found.saved_bytes[1, 2, 0] == T * (norms + projection + activation)
    assert found.rebuilt_bytes[1, 2, 0] == T * (norms + max(projection, activation))


def test_norms_fused_into_the_next_gemm_are_not_redone() -> None:
    """Transformer Engine has no norm of its own in a dense layer of grouped-query attention."""
    found = costs(dense_model(), ("none", "layernorm"), Configuration())
    assert found.saved_bytes[1, 1, 0] == found.saved_bytes[0, 1, 0]
    assert found.recompute_seconds[1, 1, 0] == 0


def test_recomputed_experts_are_dispatched_again() -> None:
    """By hand: four ranks, 3/4 of each token's two copies sent and returned, 2 bytes an element; three
    times (forward, backward, recompute) where the module is checkpointed, two otherwise."""
    found = costs(moe_model(), ("none", "moe"), resource="up")
    sent = 2 * 3 / 4 * 2 * 2 * T * H
    assert found.exposed["expert"][2, 0] == pytest.approx(2 * sent)
    assert found.recompute_seconds[1, 2, 0] == pytest.approx(sent)
    assert found.recompute_seconds[0, 2, 0] == 0


def test_an_activation_that_is_redone_is_not_kept_in_narrow_precision_either() -> None:
    """By hand: one byte an element of the cast input of the experts' second GEMM."""
    found = costs(moe_model(), ("none", "moe_act"), precision="fp8")
    assert found.saved_bytes[0, 2, 0] - found.saved_bytes[1, 2, 0] == T * 2 * 1024


MODELS = [dense_model(), dense_model(attention=mla()), moe_model(mtp=1), moe_model(attention=mla())]
SETS = st.sets(st.sampled_from(MODULES))


@settings(deadline=None)
@given(which=st.sampled_from(MODELS), some=SETS, more=SETS, unfused=st.booleans(), tp=st.sampled_from([1, 2]))
def test_more_modules_keep_no_more_and_take_no_less_time(
    which: Model, some: set[str], more: set[str], unfused: bool, tp: int
) -> None:
    levels = ("none", level_of(some), level_of(some | more), "full")
    machine = Configuration(tp=tp, sp=tp - 1)
    for resource in ("flops", "memory", "up"):
        attention = "unfused" if unfused else "flash"
        found = costs(which, levels, machine, resource, attention=attention)
        assert (np.diff(found.saved_bytes, axis=0) <= 0).all()
        assert (found.saved_bytes >= 0).all()
        assert (np.diff(found.recompute_seconds, axis=0) >= -1e-9 * found.forward_seconds).all()
        assert (found.recompute_seconds <= found.forward_seconds * (1 + 1e-9)).all()


def test_levels_as_text() -> None:
    assert canonical("moe_act+layernorm") == "layernorm+moe_act"
    assert canonical("core_attn") == level_of(["core_attn"]) == "selective"
    assert level_of([]) == "none"
    assert modules_of("selective") == {"core_attn"}
    assert modules_of("layernorm+moe_act") == {"layernorm", "moe_act"}
    assert modules_of("none") == modules_of("full") == frozenset()


@pytest.mark.parametrize("text", ["", "some", "full+moe", "none+moe", "moe+", "moe,mlp", "full:0", "full/", "full:-1"])
def test_what_is_no_level_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="one of none, selective, full, full:N"):
        canonical(text)
    with pytest.raises(ValueError, match="recompute="):
        modules_of(text)


@pytest.mark.parametrize("text", ["moe_act+layernorm", "moe+moe", "core_attn"])
def test_configurations_hold_levels_in_canonical_form_alone(text: str) -> None:
    with pytest.raises(ValueError, match="alphabetical order"):
        modules_of(text)


def test_levels_of_some_layers_as_text() -> None:
    assert [canonical(text) for text in ("full:05", "full/2", "full/1")] == ["full:5", "full/2", "full"]
    assert modules_of("full:5") == modules_of("full/2") == frozenset()
    assert [of_some_layers(level) for level in ("full:1", "full/9", "full", "none", "mlp")] == [True, True] + [
        False
    ] * 3
    assert [first_layers(level) for level in ("full:7", "full/7", "full")] == [7, None, None]
    for text in ("full:05", "full/1"):
        with pytest.raises(ValueError, match=text):
            modules_of(text)


def test_the_first_layers_of_each_chunk_are_recomputed() -> None:
    """Megatron-Core counts anew in every chunk of a stage (``TransformerBlock._checkpointed_forward``)."""
    assert recomputed_layers("full:2", [1, 3, 0, 4], [0, 1, 0, 1]) == [
        [True],
        [True, True, False],
        [],
        [True, True, False, False],
    ]


def test_every_kth_layer_is_counted_through_all_chunks_of_a_stage() -> None:
    """torchtitan's counter: chunks 0 and 2 (stage 0) hold its layers 1 to 3 and 4 to 5, of which it
    wraps 2 and 4; chunks 1 and 3 (stage 1) 1 and 2 to 4, of which 2 and 4."""
    found = recomputed_layers("full/2", [3, 1, 2, 3], [0, 1, 0, 1])
    assert found == [[False, True, False], [False], [True, False], [True, False, True]]
    assert sum(sum(chunk) for chunk in recomputed_layers("full/3", [10], [0])) == 3
    with pytest.raises(ValueError, match="all layers alike"):
        recomputed_layers("full", [3], [0])


def test_levels_that_a_search_tries() -> None:
    """By hand; each keeps no more than the one before it."""
    flash, unfused = (Job(global_batch=8, sequence_length=S, attention=a) for a in ("flash", "unfused"))  # type: ignore[arg-type]
    assert default_levels(dense_model(), flash) == ("none", "mlp", "full")
    assert default_levels(dense_model(), unfused) == ("none", "selective", "core_attn+mlp", "full")
    assert default_levels(moe_model(dense_prefix=0), flash) == ("none", "layernorm+moe_act", "layernorm+moe", "full")
    assert default_levels(moe_model(attention=mla()), flash) == (
        "none",
        "layernorm+moe_act",
        "layernorm+mla_up_proj+moe_act",
        "layernorm+mla_up_proj+mlp+moe",
        "full",
    )
    for model in MODELS:
        found = costs(model, default_levels(model, flash))
        assert (np.diff(found.saved_bytes, axis=0) <= 0).all()
