"""Local search for orders of any size: annealing from several starts, one place a row reassigned at a time.

Each round anneals ``WORKERS`` orders in threads, each from a start or the best so far, with its own seed. In the first
round of a large grid hosts only follow hosts of their group (leaf), so that slow links are avoided before the shape of
the start is lost. Each round then
improves the best by assignment: a place in every row is chosen, no two of them neighbours around a ring, so that what
a host costs in one does not depend on who gets the others; the least largest row under a threshold on the ring is an
assignment. Rounds are the same for the same problem and seed; what ends them early is the stopping rule.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from scipy.optimize import linear_sum_assignment

from solvers.mapping.anneal import anneal
from solvers.mapping.grid import grid_of
from solvers.mapping.kernels import terms, value
from solvers.mapping.problem import Floats, GridProblem, Order
from solvers.mapping.starts import linked, starts
from solvers.mapping.tables import empty_tables, fill
from solvers.solution import Stop
from solvers.stop import StoppingRule

WORKERS = 2
TRIED, TRIAL = 8, 40
"""Starts kept of either kind, and moves per place that each is tried with."""

SMALL = 64
"""Places up to which annealing begins hot: larger grids keep the shape of their start."""

HOT, COLD = 0.03, 1e-5
"""Shares of the value: temperatures to begin a small grid with, and to end with."""

WARM = (3e-4, 2e-3)
"""Those to begin a start or the best so far with, of each worker: some need little to come apart, some need more."""

SLICE = 20_000
"""Moves between two looks at the stopping rule."""


def effort(places: int) -> tuple[int, int]:
    """Rounds, and moves of a round for each place: where an exact search follows at once, little."""
    if places <= 12:
        return 1, 4_000
    return (4, 20_000) if places <= SMALL else (4, 1_000)


class LocalSearch:
    """``best`` and ``best_value`` hold what was found so far, also after an interruption."""

    def __init__(self, problem: GridProblem, seed: int) -> None:
        self.problem, self.seed = problem, seed
        self.grid = grid_of(problem)
        self.fixed = np.full((problem.rows, problem.columns), -1, dtype=np.int64)
        for place, host in problem.fixed.items():
            self.fixed[place] = host
        self.tables = [empty_tables(self.grid, problem.rows) for _ in range(WORKERS)]
        self.line, smooth, self.group = linked(problem, self.grid)
        self.enough = -np.inf
        self.begun = self._starts(smooth)
        self.best = self.begun[0].copy()
        self.best_value = float(value(self.grid, self.best))
        self.moves = 0

    def _starts(self, smooth: Floats) -> list[Order]:
        """The best, and those that are the best but for odd slow links, the best first."""
        even = self.grid._replace(inverse=smooth)
        found = list({order.tobytes(): order for order in starts(self.problem, self.line)}.values())
        by_value, by_shape = (sorted(found, key=lambda order: float(value(grid, order))) for grid in (self.grid, even))
        chosen = {order.tobytes(): order for order in (*by_value[:TRIED], *by_shape[:TRIED])}
        return list(chosen.values())

    def run(self, stop: StoppingRule, tell: Callable[[float], None], enough: float = -np.inf) -> Stop:
        """Until all rounds are over (``exhausted``), the rule says stop, or the value is down to ``enough``."""
        places = self.problem.places
        rounds, moves = effort(places)
        generator = np.random.default_rng(self.seed)
        self.enough = enough
        if (why := self._shorten(TRIAL * places, generator, stop, tell)) is not None:
            return why
        for turn in range(rounds):
            hot = (HOT,) * WORKERS if turn == 0 and places <= SMALL else WARM
            begin = self.begun[:WORKERS] if turn == 0 else [self.best] * WORKERS
            begin = [begin[k % len(begin)].copy() for k in range(WORKERS)]
            why = self._anneal(begin, hot, moves * places, generator, stop, tell, keep_groups=turn == 0)
            if why is None:
                why = self._assign(generator, stop)
                tell(self.best_value)
            if why is not None:
                return why
            if self.best_value <= enough:
                return "gap"
        return "exhausted"

    def _shorten(
        self, count: int, generator: np.random.Generator, stop: StoppingRule, tell: Callable[[float], None]
    ) -> Stop | None:
        """Leaves the starts that are best after a short annealing, as it made them, the best first."""
        tried: list[tuple[float, Order]] = []
        for k in range(0, len(self.begun), WORKERS):
            states = [order.copy() for order in self.begun[k : k + WORKERS]]
            why = self._anneal(states, WARM[:1] * WORKERS, count, generator, stop, tell, keep_groups=True)
            tried += [(float(value(self.grid, order)), order) for order in states]
            if why is not None:
                return why
        self.begun = [order for _, order in sorted(tried, key=lambda one: one[0])]
        return None

    def _keep(self, order: Order, found: float) -> None:
        if found < self.best_value:
            self.best, self.best_value = order.copy(), float(found)

    def _anneal(
        self,
        states: list[Order],
        hot: tuple[float, ...],
        count: int,
        generator: np.random.Generator,
        stop: StoppingRule,
        tell: Callable[[float], None],
        *,
        keep_groups: bool,
    ) -> Stop | None:
        """Anneals every order of ``states`` at once, in place and in slices; returns why it was stopped.

        ``hot``: shares of the value that each begins with.
        """
        if self.problem.places < 2:
            return None
        scale = self.best_value
        if not scale > 0:
            return None
        slices = max(1, count // SLICE)
        moves = max(1, count // slices)
        ratios = [(COLD / share) ** (1.0 / slices) for share in hot]
        randoms = generator.spawn(len(states))
        group = self.group if keep_groups and self.problem.places > SMALL else np.zeros_like(self.group)
        for order, room in zip(states, self.tables, strict=False):
            fill(self.grid, order, room)
        with ThreadPoolExecutor(len(states)) as pool:
            for k in range(slices):
                best = [order.copy() for order in states]
                jobs: list[Future[float]] = []
                for w, order in enumerate(states):
                    warm = scale * hot[w] * ratios[w] ** k
                    jobs.append(
                        pool.submit(
                            anneal,
                            self.grid,
                            order,
                            self.tables[w],
                            self.fixed,
                            self.line,
                            group,
                            moves,
                            warm,
                            warm * ratios[w],
                            randoms[w],
                            best[w],
                        )
                    )
                for job, kept in zip(jobs, best, strict=True):
                    self._keep(kept, job.result())
                self.moves += moves * len(states)
                tell(self.best_value)
                if (why := stop(self.moves)) is not None:
                    return why
                if self.best_value <= self.enough:
                    return "gap"
        return None

    def _spare(self, order: Order) -> Order:
        spare: Order = np.setdiff1d(self.problem.usable, order.reshape(-1))
        return spare

    def _assign(self, generator: np.random.Generator, stop: StoppingRule) -> Stop | None:
        """Reassigns one place a row at random, until twice as many tries as columns in a row have not helped."""
        problem = self.problem
        if problem.shared or problem.blocks is not None or problem.fixed or problem.rows < 3:
            return None
        fails = 0
        while fails < 2 * problem.columns + 8:
            order = self._reassigned(generator)
            found = float(value(self.grid, order))
            fails = 0 if found < self.best_value * (1 - 1e-9) else fails + 1
            self._keep(order, found)
            if (why := stop(self.moves)) is not None:
                return why
        return None

    def _reassigned(self, generator: np.random.Generator) -> Order:
        """The best order by the least threshold that helps; the best so far where none does."""
        chosen, at = self._apart(generator)
        rows, links = self._costs(chosen, at)
        _, column = self._terms(self.best)
        others = self._without(chosen, at, column)
        hosts = np.concatenate([self.best[chosen, at], self._spare(self.best)])
        worst = np.maximum(links, others)
        thresholds = np.unique(worst[worst <= column.max() * (1 + 1e-12)])
        order = self.best.copy()
        if len(thresholds) == 0:
            return order
        scale = max(float(rows.max()), 1e-300)
        picked = {float(thresholds[-1]), float(generator.choice(thresholds))}
        best_value = self.best_value
        for threshold in sorted(picked):
            price = np.where(worst <= threshold, (rows / scale) ** 16, 1e6)
            where, who = linear_sum_assignment(price)
            trial = self.best.copy()
            trial[chosen[where], at[where]] = hosts[who]
            found = float(value(self.grid, trial))
            if found < best_value:
                order, best_value = trial, found
        return order

    def _apart(self, generator: np.random.Generator) -> tuple[Order, Order]:
        """Rows and a random column for each, no two of them neighbours in a column."""
        n, p = self.best.shape
        if p == 1:
            chosen = np.arange(0, n - n % 2, 2)
            return chosen, np.zeros_like(chosen)
        chosen = np.arange(n - n % 2 if p == 2 else n)
        at = generator.integers(p, size=len(chosen))
        for k in range(1, len(chosen)):
            closing = p > 2 and k == n - 1
            while at[k] == at[k - 1] or (closing and at[k] == at[0]):
                at[k] = generator.integers(p)
        return chosen, at

    def _terms(self, order: Order) -> tuple[Floats, Floats]:
        row, column = np.empty(order.shape[0]), np.empty(order.shape[1])
        terms(self.grid, order, row, column)
        return row, column

    def _costs(self, chosen: Order, at: Order) -> tuple[Floats, Floats]:
        """[chosen places, hosts]: seconds of the row, and of the dearer of the place's two ring links with the
        column's offset, where a host stands there and all neighbours stay."""
        grid, order = self.grid, self.best
        n = order.shape[0]
        hosts = np.concatenate([order[chosen, at], self._spare(order)])
        rows, links = np.empty((len(chosen), len(hosts))), np.zeros((len(chosen), len(hosts)))
        row, _ = self._terms(order)
        for k, (r, c) in enumerate(zip(chosen.tolist(), at.tolist(), strict=True)):
            here = order[r, c]
            rest = row[r]
            for e, other in ((c - 1, c - 1), (c, c + 1)):
                if 0 <= other < order.shape[1]:
                    j = order[r, other]
                    edge = grid.edge_bytes[e] * grid.inverse[j] + grid.edge_messages[e] * grid.latency[j]
                    rest = rest - edge[here] + edge[hosts]
            rows[k] = rest
            if grid.counted[c]:
                for other in ((r - 1) % n, (r + 1) % n):
                    j = order[other, c]
                    link = grid.ring_bytes[c] * grid.inverse[j] + grid.ring_messages[c] * grid.latency[j]
                    links[k] = np.maximum(links[k], link[hosts] + grid.ring_offset[c])
        return rows, links

    def _without(self, chosen: Order, at: Order, column: Floats) -> float:
        """The dearest column where none of the chosen places counts: their links alone can be changed."""
        grid, order = self.grid, self.best
        n, p = order.shape
        moving = np.zeros((n, p), dtype=bool)
        moving[chosen, at] = True
        worst = 0.0
        for c in range(p):
            if not grid.counted[c]:
                continue
            stay = ~(moving[:, c] | np.roll(moving[:, c], -1))
            i, j = order[stay, c], np.roll(order[:, c], -1)[stay]
            links = grid.ring_bytes[c] * grid.inverse[i, j] + grid.ring_messages[c] * grid.latency[i, j]
            worst = max(worst, float(grid.ring_offset[c] + links.max(initial=0.0)))
        return worst
