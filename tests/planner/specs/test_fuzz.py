"""Whatever a spec holds, reading it ends in a result or in a SpecError."""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costmodels.architecture import Model
from costmodels.hardware import Cluster
from planner.specs import SpecError, check_job, load_cluster, load_model, make_job
from tests.planner.specs.configs import CONFIGS
from tests.planner.specs.test_machines import INLINE_GPU, SPEC
from tests.planner.specs.test_model import SPEC as MODEL_SPEC
from tests.planner.specs.test_topology import TREE
from tests.planner.specs.test_topology import spec as joined

Result = TypeVar("Result")
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.binary(max_size=4)
    | st.sampled_from(["400 Gb/s", "nan GB/s", "-1 GiB", "full_attention", 10**30, -1, 0, 1e400])
    | st.builds(list) | st.builds(dict)
)  # fmt: skip
KEYS = st.text(max_size=8) | st.sampled_from(["name", "kinds", "gpu", "model_type", "node_groups"])
NESTED = st.recursive(SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(KEYS, v, max_size=4), max_leaves=12)
BROKEN = [{"node": "srv1", "gpus": 7}, {"nodes": ["srv1", "srv4"], "bandwidth": "1 GB/s"}]
JOINED = [joined(topology=TREE), joined(topology=TREE, degraded=BROKEN, exclude="srv2")]
INLINE = {**SPEC, "node_groups": [{**SPEC["node_groups"][0], "gpu": INLINE_GPU}]}
SPECS = [SPEC, INLINE, *JOINED, MODEL_SPEC, *CONFIGS.values()]
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def outcome(make: Callable[[], Result]) -> Result | SpecError:
    try:
        return make()
    except SpecError as error:
        return error


def survives(read: Callable[[Any], Cluster | Model], source: object) -> None:
    """Reads, and uses what was read."""
    found = outcome(lambda: read(source))
    if isinstance(found, SpecError):
        assert len(str(found).splitlines()) == len(found.problems) > 0
    elif isinstance(found, Cluster):
        assert found.gpus >= 1
    else:
        assert found.total_parameters >= found.active_parameters > 0


def places(value: object, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*at, key))


@st.composite
def mutated(draw: st.DrawFn, specs: Sequence[dict[str, Any]] = SPECS) -> dict[str, Any]:
    """A valid spec with up to three values replaced, removed or joined by others."""
    spec: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(specs)))
    for _ in range(draw(st.integers(1, 3))):
        if not spec:  # all of a small spec was removed
            break
        at = draw(st.sampled_from([p for p in places(spec) if p]))
        parent: Any = spec
        for part in at[:-1]:
            parent = parent[part]
        what = draw(st.sampled_from(["replace", "remove", "add"]))
        if what == "replace":
            parent[at[-1]] = draw(NESTED)
        elif what == "remove":
            del parent[at[-1]]
        elif isinstance(parent, dict):
            parent[draw(KEYS)] = draw(NESTED)
    return spec


@QUICK
@given(mutated())
def test_mutated_specs(spec: dict[str, Any]) -> None:
    survives(load_cluster, spec)
    survives(load_model, spec)


@QUICK
@given(st.dictionaries(KEYS, NESTED, max_size=6), st.booleans())
def test_arbitrary_mappings(tmp_path: Path, data: dict[str, Any], as_json: bool) -> None:
    path = tmp_path / ("spec.json" if as_json else "spec.yaml")
    try:
        path.write_text(json.dumps(data, default=str) if as_json else yaml.safe_dump(data, allow_unicode=True))
    except UnicodeEncodeError:
        return
    survives(load_cluster, path)
    survives(load_model, path)


@QUICK
@given(st.binary(max_size=300) | st.text(alphabet="{}[]:,-&*!?|>'\"% \n\t#a1.~<=", max_size=80).map(str.encode))
def test_arbitrary_bytes(tmp_path: Path, content: bytes) -> None:
    for name in ("spec.yaml", "config.json"):
        path = tmp_path / name
        path.write_bytes(content)
        survives(load_cluster, path)
        survives(load_model, path)


@QUICK
@given(st.text(max_size=40))
def test_arbitrary_names(name: str) -> None:
    survives(load_cluster, name)
    survives(load_model, name)


@QUICK
@given(
    st.dictionaries(st.sampled_from(["global_batch", "sequence_length", "precision", "expert_imbalance", "x"]), NESTED)
)
def test_arbitrary_jobs(fields: dict[str, Any]) -> None:
    job = outcome(lambda: make_job(**fields))
    if isinstance(job, SpecError):
        assert job.problems
    else:
        outcome(lambda: check_job(job, load_cluster("dgx-h100-1"), load_model("mixtral-8x7b")))


@pytest.mark.parametrize("cut", range(0, 300, 7))
def test_truncated_files(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(SPEC)[:cut])
    survives(load_cluster, path)


@given(st.data())
@QUICK
def test_mutated_switches_and_names(data: st.DataObject) -> None:
    survives(load_cluster, data.draw(mutated(JOINED)))
