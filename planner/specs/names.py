"""Names as people write them, and the known one they probably meant."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path


def normalised(name: str) -> str:
    """Lower case, letters and digits only, without a hub's organisation: ``Qwen/Qwen3-8B`` is ``qwen38b``."""
    return re.sub(r"[^a-z0-9]", "", name.rsplit("/", 1)[-1].lower())


def nearest(name: str, known: Iterable[str], most: int = 1) -> list[str]:
    """The ``most`` known names closest to ``name``, best first, those that begin with it before the rest."""
    by_form = {normalised(k): k for k in known}
    form = normalised(name[:100])
    begun = sorted(f for f in by_form if len(form) >= 3 and f.startswith(form))
    close = difflib.get_close_matches(form, by_form, n=most, cutoff=0.5)
    return [by_form[f] for f in dict.fromkeys([*begun, *close])][:most]


def meant(name: str, known: Iterable[str], most: int = 1) -> str:
    """``; did you mean 'x'?``, or what there is to choose from when nothing resembles ``name``."""
    options = sorted(known)
    found = nearest(name, options, most)
    if found:
        return f"; did you mean {' or '.join(repr(f) for f in found)}?"
    return f"; known: {', '.join(options)}" if len(options) <= 40 else ""


def matching(name: str, known: Iterable[str]) -> str | None:
    """The known name that is ``name`` up to case, punctuation and a hub's organisation."""
    form = normalised(name)
    return next((k for k in known if normalised(k) == form), None) if form else None


def looks_like_path(name: str) -> bool:
    """Whether ``name`` is meant as a file: it has a spec's suffix, or names an existing file."""
    if name.lower().endswith((".yaml", ".yml", ".json")):
        return True
    try:
        return Path(name).is_file() or name.startswith(("/", "./", "../"))
    except (OSError, ValueError):
        return False
