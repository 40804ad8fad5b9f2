"""Plans whose pipelines share the batch unevenly: no runtime runs them, files of places do not mind."""

import pytest

from planner.exports import ExportRefused, export
from planner.exports.skipping import NO_SKIPPING
from planner.plan import with_hosts
from tests.planner.plan import samples


@pytest.mark.parametrize("target", sorted(NO_SKIPPING))
def test_runtimes_refuse_uneven_shares_by_name(target: str) -> None:
    with pytest.raises(ExportRefused, match="unevenly: 2 x 24, 1 x 16") as caught:
        export(samples.unlike_ground(), target)
    assert NO_SKIPPING[target] in str(caught.value)


def test_ranks_are_placed_whatever_they_run() -> None:
    plan = with_hosts(samples.unlike_ground(), "n[1-6]")
    assert "n1 slots=8" in export(plan, "hostfile")["hostfile"]
