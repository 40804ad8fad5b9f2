"""The strictness every spec shares, and pydantic's findings in our own words."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, ValidationError, WithJsonSchema

from planner.readers.hostlist import compress_hostlist, expand_hostlist
from planner.specs.document import Document, Place, spelled
from planner.specs.errors import Problem, SpecError, shown
from planner.specs.names import meant
from planner.specs.quantity import parse_bandwidth, parse_compute, parse_latency, parse_memory, parse_reserve


class Strict(BaseModel):
    """Unknown keys, wrong types and infinities are refused; values do not change after reading."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


def _written(parse: Callable[[object], float], example: str) -> tuple[BeforeValidator, WithJsonSchema]:
    schema: dict[str, Any] = {"type": "string", "examples": [example]}
    return BeforeValidator(parse), WithJsonSchema(schema)


Bandwidth = Annotated[float, *_written(parse_bandwidth, "400 Gb/s")]
Latency = Annotated[float, *_written(parse_latency, "5 us")]
Memory = Annotated[float, *_written(parse_memory, "80 GiB")]
Reserve = Annotated[float, *_written(parse_reserve, "4 GiB")]
Compute = Annotated[float, *_written(parse_compute, "989 TFLOP/s")]


def _hosts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return expand_hostlist(value)
    if not (isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value)):
        raise ValueError("must be names in short form, e.g. srv[1101-1108], or a list of names")
    compress_hostlist(value)
    return tuple(value)


Hosts = Annotated[
    tuple[str, ...],
    BeforeValidator(_hosts),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
            "examples": ["srv[1101-1108]"],
        }
    ),
]
"""Names of nodes or switches: a hostlist, or a list."""
Count = Annotated[int, Field(ge=1, le=2**31)]
Name = Annotated[str, Field(min_length=1, max_length=200)]

NAMED, INLINE = "<named>", "<inline>"
"""Tags of a value that is either a catalogue name or written out."""

NAMED_OR_INLINE_KEYS = ("gpu", "intra_node")

NamedOrInline = Discriminator(lambda value: INLINE if isinstance(value, Mapping | BaseModel) else NAMED)

Spec = TypeVar("Spec", bound=BaseModel)


def parse_spec(spec: type[Spec], document: Document) -> Spec:
    """``document`` as a ``spec``; raises ``SpecError`` with every problem, in the order of the file."""
    try:
        return spec.model_validate(document.data)
    except ValidationError as error:
        problems = [_problem(spec, document, found) for found in error.errors(include_url=False)]
        raise SpecError(sorted(problems, key=lambda p: p.line or 0)) from None


def _problem(spec: type[BaseModel], document: Document, found: Mapping[str, Any]) -> Problem:
    place = _without_tags(found["loc"])
    value, message = shown(found["input"]), _plain(str(found["msg"]))
    if found["type"] == "extra_forbidden":
        known = {name for model in _models(spec, place[:-1]) for name in model.model_fields}
        value, message = "", f"unknown key{meant(str(place[-1]), known)}"
    elif found["type"] == "missing":
        fields = [field for model in _models(spec, place[:-1]) for field in [model.model_fields.get(str(place[-1]))]]
        about = next((field.description for field in fields if field and field.description), None)
        value, message = "", f"missing: {about}" if about else "missing"
    return Problem(file=document.file, key=spelled(place), value=value, message=message, line=document.line(place))


def _plain(message: str) -> str:
    """``Input should be greater than or equal to 1`` as ``must be at least 1``."""
    message = message.removeprefix("Value error, ").replace("Input should be", "must be")
    return message.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")


def _without_tags(place: Place) -> Place:
    """A tag only ever follows the key of its value; anywhere else it is a key that a user wrote."""
    kept = [
        part
        for before, part in zip((None, *place), place, strict=False)
        if not (part in (NAMED, INLINE) and before in NAMED_OR_INLINE_KEYS)
    ]
    return tuple(kept)


def _models(spec: type[BaseModel], place: Place) -> list[type[BaseModel]]:
    """The models that may describe the value at ``place``."""
    models = [spec]
    for part in place:
        if isinstance(part, str) and any(part in model.model_fields for model in models):
            fields = [model.model_fields[part] for model in models if part in model.model_fields]
            models = [model for field in fields for model in _inside(field.annotation)]
    return models


def _inside(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _inside(argument)
