"""Small problems at random: everything that can differ does."""

import numpy as np

from solvers.schedule.problem import Objective, ScheduleProblem, VocabularyPasses

PLACEMENTS = ((0,), (0, 1), (0, 1, 0), (0, 1, 1, 0), (0, 1, 0, 1), (1, 0), (0, 0, 1), (0, 1, 2), (2, 0, 1))


def random_problem(
    generator: np.random.Generator, *, most: int = 18, objective: Objective = "makespan"
) -> ScheduleProblem:
    """At most ``most`` operations but for vocabulary passes, at most three micro-batches."""
    while True:
        placement = PLACEMENTS[generator.integers(len(PLACEMENTS))]
        microbatches = int(generator.integers(1, 5))
        split = bool(generator.random() < 0.75)
        with_vocabulary = bool(generator.random() < 0.3)
        devices, chunks = max(placement) + 1, len(placement)
        operations = chunks * microbatches * (3 if split else 2)
        operations += with_vocabulary * devices * microbatches * 4
        if operations <= most:
            break

    def figures(count: int, least: int, most: int) -> tuple[float, ...]:
        return tuple(map(float, generator.integers(least, most + 1, count)))

    activation = np.array(figures(chunks, 1, 4))
    share = generator.choice([-0.25, 0.0, 0.25, 0.5, 1.0], chunks)
    vocabulary = VocabularyPasses(
        passes="vocab-1" if generator.random() < 0.5 else "vocab-2",
        s_seconds=figures(devices, 0, 4),
        t_seconds=figures(devices, 0, 4),
        input_forward_seconds=figures(devices, 0, 2),
        input_backward_seconds=figures(devices, 0, 2),
        barrier_seconds=float(generator.integers(0, 3)),
        broadcast_seconds=float(generator.integers(0, 3)),
        kept=figures(devices, 0, 1) if generator.random() < 0.5 else (),
    )
    whole = [activation[[c for c in range(chunks) if placement[c] == d]].sum() for d in range(devices)]
    room = generator.choice([0.5, 1.0, 1.25, 1.5, 2.0, np.inf], devices, p=[0.02, 0.18, 0.25, 0.25, 0.2, 0.1])
    return ScheduleProblem(
        devices=devices,
        microbatches=microbatches,
        device_of_chunk=placement,
        forward_seconds=figures(chunks, 1, 6),
        input_grad_seconds=figures(chunks, 1, 6),
        weight_grad_seconds=figures(chunks, 0, 6),
        p2p_seconds=figures(chunks - 1, 0, 3),
        activation=tuple(activation.tolist()),
        released_by_input_grad=tuple((share * activation).tolist()),
        released_by_weight_grad=tuple((activation - share * activation).tolist()),
        memory_cap=tuple(float(w * r) for w, r in zip(whole, room, strict=True)),
        vocabulary=vocabulary if with_vocabulary else None,
        split_backward=split,
        objective=objective,
    )
