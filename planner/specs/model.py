"""The model to train, from wherever the user has it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cases
from costmodels.architecture import Model
from planner.specs.document import Document, read_document
from planner.specs.errors import Problem, SpecError, shown
from planner.specs.huggingface import is_config, parse_config
from planner.specs.model_spec import parse_model
from planner.specs.names import looks_like_path, matching, meant


def load_model(source: str | Path | Mapping[str, object]) -> Model:
    """The model of a catalogue name, of a Hugging Face ``config.json`` or of a model spec.

    ``source`` is a name (case and punctuation do not matter: ``llama-3.1-405b``,
    ``meta-llama/Llama-3.1-405B``), a path, or a mapping of either form. Raises ``SpecError`` with
    every problem found; a part that cannot be described is refused by name.
    """
    if isinstance(source, Mapping):
        return _parse(Document(file="model", data=dict(source)))
    if isinstance(source, Path) or looks_like_path(source):
        return _parse(read_document(source))
    path = cases.model_path(_known(source))
    return _parse(replace(read_document(path), file=path.name))


def _parse(document: Document) -> Model:
    return parse_config(document) if is_config(document) else parse_model(document)


def _known(name: str) -> str:
    aliases, unsupported = cases.model_aliases(), cases.unsupported_models()
    known = [*cases.model_names(), *aliases]
    found = matching(name, known)
    if found is not None:
        return aliases.get(found, found)
    refused = matching(name, unsupported)
    if refused is not None:
        message = f"is not supported: {unsupported[refused]}"
    else:
        guess = meant(name, known, 3) or "; 'plan cases list' shows the models"
        message = f"is neither a file nor a model of the catalogue{guess}"
    raise SpecError([Problem(file="model", key="", value=shown(name), message=message)])
