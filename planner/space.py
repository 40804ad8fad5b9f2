"""Which configurations exist for a cluster, a model and a job, and why the others do not.

``rules`` states every rule of legality on columns, once, with its reason; ``enumerate_space`` walks
the stated space with those rules and counts what each one removed; ``check`` applies them to a single
configuration. The space, unless a value is pinned:

- ``tp`` divides the GPUs and stays inside one NVLink domain; ``cp`` leaves each rank at least 1,024
  tokens; ``pp`` and ``vp`` give every model chunk at least one item of the chain, and of the ``vp``
  with equally large chunks the smallest; ``dp`` takes all remaining GPUs
- ``sp`` off and on; ``zero`` 0 to 3; ``mbs`` powers of two up to 64; ``recompute`` the
  levels of ``costmodels.recompute.default_levels``; of some layers only where pinned, or
  (``full:fit``) allowed
- ``ep`` divides the experts; ``etp`` powers of two inside one NVLink domain
- ``schedule`` 1f1b, which is interleaved where ``vp`` is over 1, and ``vocabulary`` whole: all others only
  where pinned or allowed; ``vp`` of zb-h1 and zb-h2 is 1, of zb-v, v-half and v-min 2;
  ``best``, with ``vp`` 1 or 2, only where pinned
"""

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from costmodels.architecture import Mlp, Model, Moe
from costmodels.columns import Columns
from costmodels.configuration import (
    ALLOWABLE,
    FOLDING,
    PIPELINE_SCHEDULES,
    V_SCHEDULES,
    VOCABULARIES,
    Configuration,
    Job,
    Recompute,
)
from costmodels.hardware import Cluster
from costmodels.recompute import FIT, canonical, default_levels, first_layers

Mask = NDArray[np.bool_]
MIN_CONTEXT_TOKENS = 1024
MICRO_BATCHES = tuple(2**i for i in range(7))
DEGREES = tuple(f.name for f in fields(Configuration))
FORBIDDABLE = (*DEGREES, FOLDING)
NAMED: dict[str, tuple[str, ...]] = {"vocabulary": VOCABULARIES, "schedule": PIPELINE_SCHEDULES}
"""Values of the degrees that are names, the default first."""


class IllegalConfiguration(ValueError):  # noqa: N818 - it names the configuration, not an error class
    """A configuration that cannot run; ``reasons`` holds every rule it breaks."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("; ".join(self.reasons))


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The legal configurations, and how many partial ones each rule removed."""

    columns: Columns
    pruned: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``broken(columns)`` is true where a configuration breaks it; ``needs`` are the degrees it reads.

    ``redundant`` names a degree whose value here runs but is never better than another: the search
    leaves it out unless that degree is pinned, ``check`` lets it pass.
    """

    reason: str
    needs: frozenset[str]
    broken: Callable[[Mapping[str, NDArray[np.int64]]], Mask] = field(repr=False)
    redundant: str | None = None


def rules(cluster: Cluster, model: Model, job: Job, levels: Sequence[Recompute]) -> list[Rule]:
    """Every rule of legality for this job, as predicates on columns of degrees; ``recompute`` numbers
    the ``levels``."""
    gpus, length, batch = cluster.gpus, job.sequence_length, job.global_batch
    found: list[Rule] = []

    def rule(reason: str, needs: str, broken: Callable[..., Mask], *, redundant: str | None = None) -> None:
        names = needs.split()

        def on_table(table: Mapping[str, NDArray[np.int64]]) -> Mask:
            return broken(*(table[name] for name in names))

        found.append(Rule(reason=reason, needs=frozenset(names), broken=on_table, redundant=redundant))

    rule(
        f"tp x cp x pp x dp is not the cluster's {gpus} GPUs",
        "tp cp pp dp",
        lambda t, c, p, d: t * c * p * d != gpus,
    )
    for kind in model.kinds:
        attention, block = kind.attention, kind.block
        _attention_rules(rule, attention.heads, attention.kv_heads if attention.kind == "gqa" else attention.heads)
        if isinstance(block, Mlp):
            _divides(rule, f"feed-forward width {block.ffn}", block.ffn, "tp")
        else:
            _moe_rules(rule, block)
    if not model.is_moe:
        rule(
            "ep and etp need a mixture of experts; this model is dense",
            "ep etp",
            lambda e, t: (e > 1) | (t > 1),
        )
    rule(
        "sp cuts the sequence over the tensor group: it needs tp > 1",
        "tp sp",
        lambda t, s: (s == 1) & (t == 1),
    )
    rule(
        f"sequence length {length} is not divisible by 2 x cp (causal balancing)",
        "cp",
        lambda c: (c > 1) & (length % (2 * c) != 0),
    )
    rule(
        f"sequence length {length} / cp is not divisible by tp under sp",
        "tp sp cp",
        lambda t, s, c: (s == 1) & (length % (c * t) != 0),
    )
    if job.attention == "unfused":
        rule("context parallelism needs FlashAttention; the job's attention is unfused", "cp", lambda c: c > 1)
    if job.offloaded_layers:
        recomputed = np.array([level != "none" for level in levels])
        rule("offloaded layers need a single stage (pp=1)", "pp", lambda p: p > 1)
        rule("offloaded layers are not recomputed as well (recompute=none)", "recompute", lambda r: recomputed[r])
    rule(f"global batch {batch} is not divisible by dp x mbs", "dp mbs", lambda d, m: batch % (d * m) != 0)
    items = len(model.layers) + 2
    rule(f"pp x vp needs more chunks than the {items} items of the model", "pp vp", lambda p, v: p * v > items)
    rule("vp > 1 interleaves stages: it needs pp > 1", "pp vp", lambda p, v: (v > 1) & (p == 1))
    rule(
        "interleaving (vp > 1) needs micro-batches in multiples of pp",
        "pp vp dp mbs schedule",
        lambda p, v, d, m, s: (s == 0) & (v > 1) & ((batch // (d * m)) % p != 0),
    )
    _vocabulary_rules(rule, model)
    _schedule_rules(rule, levels)
    layers = len(model.layers)
    too_many = np.array([(first_layers(level) or 0) > layers for level in levels])
    rule(
        f"recompute of more first layers than the {layers} of the model: write full",
        "recompute",
        lambda r: too_many[r],
    )
    rule(
        "ZeRO without replicas shards nothing",
        "zero tp cp dp ep etp",
        lambda z, t, c, d, e, et: (z > 0) & (d * c == 1) & (t * c * d == e * et),
        redundant="zero",
    )
    return found


UNFOLDED = Rule(
    reason="folding is forbidden: experts keep etp = tp, and ep of over 1 divides dp, with cp = 1",
    needs=frozenset({"tp", "cp", "dp", "ep", "etp"}),
    broken=lambda table: (
        (table["etp"] != table["tp"]) | (table["dp"] % table["ep"] != 0) | ((table["cp"] > 1) & (table["ep"] > 1))
    ),
)
"""What holds of a mixture of experts where folding is forbidden (``Configuration.folded``)."""


def _divides(rule: Callable[..., None], what: str, size: int, degree: str) -> None:
    rule(f"{what} is not divisible by {degree}", degree, lambda d: size % d != 0)


def _attention_rules(rule: Callable[..., None], heads: int, kv_heads: int) -> None:
    _divides(rule, f"{heads} attention heads", heads, "tp")
    rule(
        f"{kv_heads} key/value heads neither divide by tp nor tp by them",
        "tp",
        lambda t: (kv_heads % t != 0) & (t % kv_heads != 0),
    )


def _moe_rules(rule: Callable[..., None], block: Moe) -> None:
    _divides(rule, f"{block.experts} experts", block.experts, "ep")
    _divides(rule, f"expert width {block.ffn}", block.ffn, "etp")
    if block.shared_ffn:
        _divides(rule, f"shared expert width {block.shared_ffn}", block.shared_ffn, "tp")
    rule(
        "ep x etp does not divide the tp x cp x dp ranks of a stage",
        "tp cp dp ep etp",
        lambda t, c, d, e, et: (t * c * d) % (e * et) != 0,
    )
    rule("experts with tp > 1 need sequence parallelism (sp=1)", "tp sp", lambda t, s: (t > 1) & (s == 0))


def _vocabulary_rules(rule: Callable[..., None], model: Model) -> None:
    """What a vocabulary split over the pipeline needs (arXiv 2411.05288; the order is 1F1B's)."""
    if model.tied_embeddings:
        rule("a split vocabulary needs untied embeddings; this model ties them", "vocabulary", lambda v: v > 0)
    if model.mtp_layers:
        rule("a split vocabulary has no schedule for multi-token prediction", "vocabulary", lambda v: v > 0)
    rule("a split vocabulary needs pp > 1: it is cut over the stages", "vocabulary pp", lambda v, p: (v > 0) & (p == 1))
    rule("a split vocabulary has no interleaved schedule: vp = 1", "vocabulary vp", lambda v, c: (v > 0) & (c > 1))
    rule(
        "a split vocabulary keeps its weights and gradients: zero of at most 1",
        "vocabulary zero",
        lambda v, z: (v > 0) & (z > 1),
    )


def _schedule_rules(rule: Callable[..., None], levels: Sequence[Recompute]) -> None:
    """What the schedules with weight gradients apart need (arXiv 2401.10241, 2405.15362)."""
    v_shaped = np.array([name in V_SCHEDULES for name in PIPELINE_SCHEDULES])
    best = np.array([name == "best" for name in PIPELINE_SCHEDULES])
    one_chunk = ~v_shaped & ~best & (np.arange(len(v_shaped)) > 0)
    rule("a schedule other than 1f1b needs pp > 1", "schedule pp", lambda s, p: (s > 0) & (p == 1))
    rule("zb-h1 and zb-h2 run one chunk a stage: vp = 1", "schedule vp", lambda s, v: one_chunk[s] & (v != 1))
    rule(f"{', '.join(V_SCHEDULES)} run two chunks a stage: vp = 2", "schedule vp", lambda s, v: v_shaped[s] & (v != 2))
    rule(
        "schedule=best runs one chunk a stage, or two in a V: vp of 1 or 2",
        "schedule vp",
        lambda s, v: best[s] & (v > 2),
    )
    fitted = np.array([level == FIT for level in levels])
    rule(
        "recompute=full:fit follows from a schedule's memory: schedule=best has none before it is made",
        "schedule recompute",
        lambda s, r: best[s] & fitted[r],
    )
    interlaced = VOCABULARIES.index("interlaced")
    rule(
        "a split vocabulary has orders of its own: schedule=1f1b, or best with vocab-1 and vocab-2",
        "schedule vocabulary",
        lambda s, v: (s > 0) & (v > 0) & (~best[s] | (v == interlaced)),
    )


def check(cluster: Cluster, model: Model, job: Job, configuration: Configuration) -> None:
    """Raise ``IllegalConfiguration`` with every rule that ``configuration`` breaks."""
    levels = (_level(configuration.recompute),)
    table = _table(Columns.of([configuration]))
    broken = [
        rule.reason for rule in rules(cluster, model, job, levels) if not rule.redundant and rule.broken(table)[0]
    ]
    if broken:
        named = describe(configuration)
        raise IllegalConfiguration(f"{named}: {reason}" for reason in dict.fromkeys(broken))


def describe(configuration: Configuration) -> str:
    """``tp=8,sp=1,...``: what ``--config`` takes."""
    return ",".join(f"{name}={getattr(configuration, name)}" for name in DEGREES)


def _table(columns: Columns) -> dict[str, NDArray[np.int64]]:
    return {name: getattr(columns, name) for name in DEGREES}


def enumerate_space(
    cluster: Cluster,
    model: Model,
    job: Job,
    pins: Mapping[str, int | str] | None = None,
    forbid: Iterable[str] = (),
    allow: Iterable[str] = (),
) -> Space:
    """All legal configurations of the stated space.

    ``pins`` fixes degrees, ``forbid`` switches kinds of parallelism off (their degree stays 1, ``sp``
    and ``zero`` 0, ``recompute`` none, ``vocabulary`` whole, ``schedule`` 1f1b; ``folding``: experts keep to the
    attention's groups, ``Configuration.folded``). Both are counted, not silently
    dropped: nothing pinned is replaced. ``allow`` frees fields of ``ALLOWABLE``: all their values are tried.
    Degrees are added one at a time and every rule applied as soon as its degrees are known, so a pruned count
    is of partial configurations.
    """
    forbid = frozenset(forbid)
    fixed, levels = fixed_degrees(pins or {}, forbid)
    freed = check_allowed(allow)
    if both := sorted(freed & {*fixed}):
        raise IllegalConfiguration(f"{name} is allowed, and also pinned or forbidden" for name in both)
    levels = levels or default_levels(model, job) + ((FIT,) if "recompute" in freed else ())
    pending = [rule for rule in rules(cluster, model, job, levels) if rule.redundant not in fixed]
    if model.is_moe and FOLDING in forbid:
        pending.append(UNFOLDED)
    pruned: Counter[str] = Counter()
    table: dict[str, NDArray[np.int64]] = {}
    for name, choices in _choices(cluster, model, job, fixed, len(levels), freed):
        table = _extend(table, name, choices)
        if name == "cp":
            _drop(
                table,
                (cluster.gpus % (table["tp"] * table["cp"])) != 0,
                "tp x cp does not divide the GPUs",
                pruned,
            )
        if name == "pp":
            size = table["tp"] * table["cp"] * table["pp"]
            _drop(table, cluster.gpus % size != 0, "tp x cp x pp does not divide the GPUs", pruned)
            table["dp"] = cluster.gpus // (table["tp"] * table["cp"] * table["pp"])
            if "dp" in fixed:
                _drop(table, table["dp"] != fixed["dp"], "dp is pinned to another value", pruned)
        for rule in [r for r in pending if r.needs <= table.keys()]:
            pending.remove(rule)
            _drop(table, rule.broken(table), rule.reason, pruned)
    columns = Columns(**{name: table[name] for name in DEGREES}, levels=levels)
    return Space(columns=columns, pruned=dict(sorted(pruned.items())))


def fixed_degrees(pins: Mapping[str, int | str], forbid: Iterable[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Values of the degrees that are fixed, and the level of recompute if that one is."""
    off = {"sp": 0, "zero": 0, "recompute": 0, **dict.fromkeys(NAMED, 0)}
    for names, known in ((pins, DEGREES), (forbid, FORBIDDABLE)):
        if unknown := sorted({*names} - {*known}):
            raise IllegalConfiguration(f"{name}: no such degree; one of {', '.join(known)}" for name in unknown)
    fixed = {name: off.get(name, 1) for name in forbid if name != FOLDING}
    levels: tuple[str, ...] = ("none",) if "recompute" in fixed else ()
    for name, value in pins.items():
        if name in fixed:
            raise IllegalConfiguration([f"{name} is both pinned and forbidden"])
        if name in NAMED:
            if value not in NAMED[name]:
                raise IllegalConfiguration([f"{name}={value}: one of {', '.join(NAMED[name])}"])
            fixed[name] = NAMED[name].index(str(value))
            continue
        if name == "recompute":
            fixed[name], levels = 0, (_level(str(value)),)
            continue
        low, high = {"sp": (0, 1), "zero": (0, 3)}.get(name, (1, 2**31))
        if not isinstance(value, int) or not low <= value <= high:
            raise IllegalConfiguration([f"{name}={value}: must be a whole number of {low} to {high}"])
        fixed[name] = value
    return fixed, levels


def check_allowed(allow: Iterable[str]) -> frozenset[str]:
    """``allow`` as a set; ``IllegalConfiguration`` naming what cannot be allowed and the nearest that can."""
    freed = frozenset(allow)
    refused = []
    for name in sorted(freed - {*ALLOWABLE}):
        near = difflib.get_close_matches(name, ALLOWABLE, n=1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(ALLOWABLE)}"
        refused.append(f"{name} cannot be allowed: {hint}")
    if refused:
        raise IllegalConfiguration(refused)
    return freed


def _level(text: str) -> str:
    """``text`` if it is a level of recompute as plans write it, else a refusal that says how to."""
    try:
        written = canonical(text)
    except ValueError as error:
        raise IllegalConfiguration([str(error)]) from None
    if written != text:
        raise IllegalConfiguration([f"recompute={text}: write {written}"])
    return text


def _choices(
    cluster: Cluster, model: Model, job: Job, fixed: Mapping[str, int], levels: int, freed: frozenset[str]
) -> Iterable[tuple[str, list[int] | Callable[[int, int], list[int]]]]:
    """Degrees in the order they are added, with their values (``vp`` by ``pp`` and ``schedule``); of
    recompute, the numbers of the ``levels``."""
    gpus, layers = cluster.gpus, len(model.layers)
    divisors = [d for d in range(1, min(gpus, 4096) + 1) if gpus % d == 0]
    experts = {kind.block.experts for kind in model.kinds if isinstance(kind.block, Moe)}
    most = max(experts, default=1)
    narrow = [d for d in divisors if d <= cluster.domain_gpus]
    plain: dict[str, list[int]] = {
        "tp": narrow,
        "cp": [d for d in divisors if d == 1 or job.sequence_length // d >= MIN_CONTEXT_TOKENS],
        "pp": [d for d in divisors if d <= layers + 2],
        "mbs": [m for m in MICRO_BATCHES if m <= job.global_batch],
        "sp": [0, 1],
        "ep": [d for d in range(1, most + 1) if most % d == 0],
        "etp": [2**i for i in range(8) if 2**i <= cluster.domain_gpus] if experts else [1],
        "zero": [0, 1, 2, 3],
        "recompute": list(range(levels)),
        **{name: _tried(values) if name in freed else [0] for name, values in NAMED.items()},
    }
    for name in ("tp", "cp", "pp", "mbs", "sp", "ep", "etp", "schedule"):
        yield name, [fixed[name]] if name in fixed else plain[name]
    yield "vp", [fixed["vp"]] if "vp" in fixed else (lambda pp, schedule: _chunks(layers, pp, schedule))
    for name in ("zero", "recompute", "vocabulary"):
        yield name, [fixed[name]] if name in fixed else plain[name]


def _tried(values: tuple[str, ...]) -> list[int]:
    """Numbers of the names that a search tries: an order made for each candidate takes too long for all of them."""
    return [number for number, name in enumerate(values) if name != "best"]


def _chunks(layers: int, pp: int, schedule: int) -> list[int]:
    if schedule == 0:
        return interleavings(layers, pp)
    if PIPELINE_SCHEDULES[schedule] == "best":
        return [1, 2] if 2 * pp <= layers + 2 else [1]
    return [2] if PIPELINE_SCHEDULES[schedule] in V_SCHEDULES else [1]


def interleavings(layers: int, pp: int) -> list[int]:
    """Chunks per stage worth trying: the fewest for every size of the largest chunk, counting the
    embedding and the head as items or not."""
    if pp == 1:
        return [1]
    found = {1}
    for items in (layers, layers + 2):
        for largest in range(1, items + 1):
            vp = -(-items // (largest * pp))
            if vp * pp <= layers + 2 and -(-items // (vp * pp)) == largest:
                found.add(vp)
    return sorted(found)


def _extend(
    table: dict[str, NDArray[np.int64]], name: str, choices: list[int] | Callable[[int, int], list[int]]
) -> dict[str, NDArray[np.int64]]:
    """Every row once per value of the new degree."""
    if not table:
        assert not callable(choices)
        return {name: np.array(choices, dtype=np.int64)}
    if callable(choices):
        stages, schedules = table["pp"].tolist(), table["schedule"].tolist()
        pairs = list(zip(stages, schedules, strict=True))
        by_pair = {pair: np.array(choices(*pair), dtype=np.int64) for pair in set(pairs)}
        per_row = [by_pair[pair] for pair in pairs]
        counts = np.array([len(values) for values in per_row], dtype=np.int64)
        added = np.concatenate(per_row) if per_row else np.array([], dtype=np.int64)
    else:
        counts = np.full(len(next(iter(table.values()))), len(choices), dtype=np.int64)
        added = np.tile(np.array(choices, dtype=np.int64), len(counts))
    return {**{key: np.repeat(column, counts) for key, column in table.items()}, name: added}


def _drop(table: dict[str, NDArray[np.int64]], broken: Mask, reason: str, pruned: Counter[str]) -> None:
    count = int(broken.sum())
    if count:
        pruned[reason] += count
        for key in table:
            table[key] = table[key][~broken]
