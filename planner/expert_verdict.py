"""Whether a placement of experts is worth having, said plainly.

A gain is the share of the baseline's objective that the placement saves. In sample it flatters: the placement
was made for those counts. On held-out counts it is compared with its own noise, two standard errors of the mean
gain over the layers (each layer's gain one draw).
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.plan.experts_result import Moves, Verdict

WORTH = 0.01
"""Less is within what a kernel or a network varies from run to run: not worth a table (assumed)."""

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


def judge(baseline: str, seen: Pair, held_out: Pair | None) -> Verdict:
    """``seen`` and ``held_out``: what each layer adds to the objective, ours and the baseline's."""
    gain, _ = _gain(*seen)
    if held_out is None:
        worth = gain >= WORTH
        text = (
            f"{_percent(gain)} better than {baseline} on the counts it was made for; holdout shows what carries over"
            if worth
            else f"not worth it: only {_percent(gain)} better than {baseline}, even on the counts it was made for"
        )
        return Verdict(worth_it=worth, baseline=baseline, gain=gain, held_out_gain=None, noise=None, text=text)
    unseen, noise = _gain(*held_out)
    figures = f"{_percent(gain)} on its own counts, {_percent(unseen)} +- {_percent(noise)} on held-out ones"
    if gain < WORTH:
        worth, text = False, f"not worth it: against {baseline} it gains {figures}"
    elif unseen < WORTH:
        worth, text = False, f"not worth it: the gain over {baseline} does not carry over, {figures}"
    elif unseen <= noise:
        worth, text = False, f"not shown to be worth it: the gain over {baseline} is within the noise, {figures}"
    else:
        worth, text = True, f"better than {baseline}: {figures}"
    return Verdict(worth_it=worth, baseline=baseline, gain=gain, held_out_gain=unseen, noise=noise, text=text)


def against_balancer(verdict: Verdict, ours: float, balancer: float) -> Verdict:
    """The verdict, and what is left of the gain beside a placement that EPLB makes for balance alone."""
    gain = 1 - ours / balancer
    said = (
        f"{_percent(gain)} over eplb" if gain >= WORTH else f"only {_percent(gain)} over eplb, which would do as well"
    )
    return replace(verdict, text=f"{verdict.text}; {said}")


def against_moves(verdict: Verdict, moves: Moves | None, passes: int | None) -> Verdict:
    """Not worth it where moving weights takes longer than ``passes`` forward passes save."""
    if moves is None or moves.seconds is None:
        return verdict
    if moves.pays_after_passes is None:
        return verdict
    said = f"moving weights takes {moves.seconds:.3g} s, saved in {moves.pays_after_passes:,.0f} forward passes"
    if passes is not None and moves.pays_after_passes > passes:
        text = f"not worth it: {said}, not in the {passes:,} there are"
        return replace(verdict, worth_it=False, text=text)
    return replace(verdict, text=f"{verdict.text}; {said}")


def _gain(ours: NDArray[np.float64], base: NDArray[np.float64]) -> tuple[float, float]:
    """Share saved of the baseline, and two standard errors of it."""
    total = float(base.mean())
    if total <= 0:
        return 0.0, 0.0
    saved = base - ours
    error = float(saved.std(ddof=1)) / len(saved) ** 0.5 if len(saved) > 1 else 0.0
    return float(saved.mean()) / total, 2 * error / total


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
