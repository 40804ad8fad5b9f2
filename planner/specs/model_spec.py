"""The model spec: our own description of a decoder, and how it becomes a ``Model``."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from costmodels.architecture import Attention, LayerKind, Mlp, Model, Moe
from planner.specs.document import Document, Place, spelled
from planner.specs.errors import Problem, SpecError, shown
from planner.specs.names import meant
from planner.specs.strict import Count, Name, Strict, parse_spec

MOST_LAYERS = 10_000
Size = Annotated[int, Field(ge=1, le=2**24)]
SizeOrNone = Annotated[int, Field(ge=0, le=2**24)]


class AttentionSpec(Strict):
    """Keys of ``costmodels.architecture.Attention``; of ``mla`` head_dim is the whole query/key head."""

    kind: Literal["gqa", "mla"] = "gqa"
    heads: Size = Field(description="query heads")
    kv_heads: Size | None = Field(default=None, description="key/value heads; as many as heads when absent")
    head_dim: Size = Field(description="width of a query and key head")
    value_dim: Size | None = Field(default=None, description="width of a value head; head_dim when absent")
    q_lora_rank: SizeOrNone = 0
    kv_lora_rank: SizeOrNone = 0
    rope_dim: SizeOrNone = 0
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: Literal["none", "head", "full"] = "none"
    sinks: bool = False

    def attention(self, window: int | None) -> Attention:
        return Attention(
            **{
                **self.model_dump(),
                "kv_heads": self.kv_heads or self.heads,
                "value_dim": self.value_dim or self.head_dim,
                "window": window,
            }
        )

    def problems(self) -> Iterator[tuple[Place, object, str]]:
        kv_heads = self.kv_heads or self.heads
        if self.heads % kv_heads:
            yield ("kv_heads",), kv_heads, f"must divide heads, {self.heads}"
        if self.kind == "gqa":
            for key in ("q_lora_rank", "kv_lora_rank", "rope_dim"):
                if getattr(self, key):
                    yield (key,), getattr(self, key), "belongs to attention of kind mla only"
            return
        if kv_heads != self.heads:
            yield ("kv_heads",), kv_heads, f"must equal heads, {self.heads}, in attention of kind mla"
        if not self.kv_lora_rank:
            yield ("kv_lora_rank",), self.kv_lora_rank, "must be above zero in attention of kind mla"
        if not 0 < self.rope_dim < self.head_dim:
            yield ("rope_dim",), self.rope_dim, f"must lie between 0 and head_dim, {self.head_dim}"


class MlpSpec(Strict):
    """Keys of ``costmodels.architecture.Mlp``."""

    ffn: Size = Field(description="inner width")
    gated: bool = True
    bias: bool = False


class MoeSpec(Strict):
    """Keys of ``costmodels.architecture.Moe``."""

    experts: Size = Field(description="routed experts")
    top_k: Size = Field(description="experts per token")
    ffn: Size = Field(description="inner width of one expert")
    gated: bool = True
    bias: bool = False
    shared_ffn: SizeOrNone = 0
    shared_gate: bool = False
    router_bias: bool = False


class KindSpec(Strict):
    """One kind of layer: attention (the model's unless given here) and either ``mlp`` or ``moe``."""

    attention: AttentionSpec | None = None
    window: Count | None = Field(default=None, description="tokens attended to; all before when absent")
    mlp: MlpSpec | None = None
    moe: MoeSpec | None = None


class RunSpec(Strict):
    """``kinds``, in this order, ``repeat`` times."""

    kinds: Annotated[list[Name], Field(min_length=1, max_length=1000)]
    repeat: Annotated[int, Field(ge=1, le=MOST_LAYERS)] = 1


class MtpSpec(Strict):
    """Multi-token-prediction layers of a kind, each with a projection from 2 x hidden to hidden."""

    kind: Name = Field(description="one of kinds")
    count: Annotated[int, Field(ge=1, le=64)] = 1


class ModelSpec(Strict):
    """A decoder-only transformer."""

    name: Name = Field(description="what to call it")
    source: str = Field(default="", description="where the figures come from")
    hidden: Size = Field(description="width of the residual stream")
    vocabulary: Size = Field(description="rows of the embedding")
    tied_embeddings: bool = Field(default=False, description="input and output embedding are one")
    positions: SizeOrNone = Field(default=0, description="learned position embeddings; 0: rotary or none")
    norm: Literal["rmsnorm", "layernorm"] = Field(default="rmsnorm", description="layernorm has biases too")
    attention: AttentionSpec | None = Field(default=None, description="of every kind that gives none itself")
    kinds: Annotated[dict[Name, KindSpec], Field(min_length=1, max_length=1000)] = Field(
        description="layer kinds by name"
    )
    layers: Annotated[list[RunSpec], Field(min_length=1, max_length=1000)] = Field(
        description="first to last, e.g. [{kinds: [dense], repeat: 126}]"
    )
    mtp: MtpSpec | None = None


def parse_model(document: Document) -> Model:
    """The model that ``document`` describes; raises ``SpecError`` with every problem found."""
    spec = parse_spec(ModelSpec, document)
    problems = [
        Problem(file=document.file, key=spelled(p), value=shown(v), message=m, line=document.line(p))
        for p, v, m in _problems(spec)
    ]
    if problems:
        raise SpecError(problems)
    return _model(spec)


def _problems(spec: ModelSpec) -> Iterator[tuple[Place, object, str]]:
    if spec.attention:
        yield from ((("attention", *p), v, m) for p, v, m in spec.attention.problems())
    for name, kind in spec.kinds.items():
        place = ("kinds", name)
        if kind.attention:
            yield from (((*place, "attention", *p), v, m) for p, v, m in kind.attention.problems())
        elif not spec.attention:
            yield place, name, "has no attention; give it here or once for the whole model"
        if (kind.mlp is None) == (kind.moe is None):
            yield place, name, "needs either mlp or moe"
        if kind.moe and kind.moe.top_k > kind.moe.experts:
            yield (*place, "moe", "top_k"), kind.moe.top_k, f"is more than the {kind.moe.experts} experts"
        if kind.moe and kind.moe.shared_gate and not kind.moe.shared_ffn:
            yield (*place, "moe", "shared_gate"), True, "needs shared experts: give shared_ffn"
    for i, run in enumerate(spec.layers):
        for j, name in enumerate(run.kinds):
            if name not in spec.kinds:
                yield ("layers", i, "kinds", j), name, f"is not among kinds{meant(name, spec.kinds)}"
    if spec.mtp and spec.mtp.kind not in spec.kinds:
        yield ("mtp", "kind"), spec.mtp.kind, f"is not among kinds{meant(spec.mtp.kind, spec.kinds)}"
    count = sum(run.repeat * len(run.kinds) for run in spec.layers)
    if count > MOST_LAYERS:
        yield ("layers",), count, f"more than {MOST_LAYERS} layers"


def _model(spec: ModelSpec) -> Model:
    norm = spec.hidden * (2 if spec.norm == "layernorm" else 1)
    kinds = [_kind(spec, name, kind, norm) for name, kind in spec.kinds.items()]
    index = {name: i for i, name in enumerate(spec.kinds)}
    mtp: tuple[int, ...] = ()
    if spec.mtp:
        kinds.append(mtp_layer(kinds[index[spec.mtp.kind]], spec.hidden, norm))
        mtp = (len(kinds) - 1,) * spec.mtp.count
    return Model(
        name=spec.name,
        hidden=spec.hidden,
        vocabulary=spec.vocabulary,
        kinds=tuple(kinds),
        layers=tuple(index[name] for run in spec.layers for _ in range(run.repeat) for name in run.kinds),
        mtp_layers=mtp,
        tied_embeddings=spec.tied_embeddings,
        positions=spec.positions,
        final_norm_parameters=norm,
    )


def _kind(spec: ModelSpec, name: str, kind: KindSpec, norm: int) -> LayerKind:
    attention = kind.attention or spec.attention
    assert attention is not None, "checked in _problems"
    block: Mlp | Moe
    if kind.moe is not None:
        block = Moe(**kind.moe.model_dump())
    else:
        assert kind.mlp is not None, "checked in _problems"
        block = Mlp(**kind.mlp.model_dump())
    return LayerKind(name=name, attention=attention.attention(kind.window), block=block, norm_parameters=2 * norm)


def mtp_layer(kind: LayerKind, hidden: int, norm: int) -> LayerKind:
    """A multi-token-prediction layer: a decoder layer of ``kind`` behind norms of the two streams it
    joins and a projection from 2 x hidden to hidden, with a last norm of its own; embedding and head
    are the model's (DeepSeek-V3, arXiv 2412.19437, section 2.2)."""
    return LayerKind(
        name=f"{kind.name}-mtp",
        attention=kind.attention,
        block=kind.block,
        norm_parameters=kind.norm_parameters + 3 * norm,
        extra_parameters=2 * hidden * hidden,
    )
