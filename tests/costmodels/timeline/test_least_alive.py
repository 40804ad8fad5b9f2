import numpy as np
import pytest

from costmodels.timeline import FORWARD, INPUT_GRAD, NAMED_SCHEDULES, WEIGHT_GRAD, least_alive, schedule_order
from costmodels.timeline.schedules import Schedule


@pytest.mark.parametrize("schedule", [name for name, named in NAMED_SCHEDULES.items() if named.splits_backward])
@pytest.mark.parametrize("p", [2, 3, 4, 5, 6, 8, 9, 16])
def test_every_stage_keeps_as_much_at_one_instant(schedule: Schedule, p: int) -> None:
    """Second method: running counts along the order's own rows."""
    chunks = NAMED_SCHEDULES[schedule].chunks_per_device or 1
    for m in (1, 2, 3, p, p + 2, p + 3, 2 * p - 1, 2 * p, 5 * p):
        order = schedule_order(schedule, p, chunks, m)
        for stage in range(p):
            needed = np.concatenate(least_alive(schedule, stage, np.array([p]), np.array([m])))
            kind, first = order.kind[stage], order.chunk[stage] < p
            whole = (kind == FORWARD).astype(int) - (kind == INPUT_GRAD)
            waiting = (kind == INPUT_GRAD).astype(int) - (kind == WEIGHT_GRAD)
            one = np.cumsum(whole * first)
            two = np.cumsum(whole * ~first) if chunks == 2 else one
            mine = np.cumsum(waiting * first)
            least = np.minimum(mine, np.cumsum(waiting * ~first)) if chunks == 2 else mine
            kept = np.stack([np.maximum(one, two), np.minimum(one, two), least])
            assert (kept >= needed[:, None]).all(axis=0).any(), (m, stage, needed)
            if m == 5 * p and schedule in ("zb-h1", "zb-h2", "zb-v"):
                assert needed[:2].sum() == (kept[:2].sum(axis=0)).max(), "no looser than it has to be"


def test_whole_backward_passes_are_refused() -> None:
    with pytest.raises(ValueError, match="1f1b runs whole backward passes"):
        least_alive("1f1b", 0, np.array([2]), np.array([2]))
