"""Names as people write them, and the known one they probably meant."""

import difflib
import re
from collections.abc import Iterable


def normalised(name: str) -> str:
    """Lower case, letters and digits only, without a hub's organisation: ``Qwen/Qwen3-8B`` is ``qwen38b``."""
    return re.sub(r"[^a-z0-9]", "", name.rsplit("/", 1)[-1].lower())


def nearest(name: str, known: Iterable[str], most: int = 1) -> list[str]:
    """The ``most`` known names closest to ``name``, best first; empty when none resembles it."""
    by_form = {normalised(k): k for k in known}
    found = difflib.get_close_matches(normalised(name[:100]), by_form, n=most, cutoff=0.5)
    return [by_form[form] for form in found]


def meant(name: str, known: Iterable[str], most: int = 1) -> str:
    """``; did you mean 'x'?``, or what there is to choose from when nothing resembles ``name``."""
    options = sorted(known)
    found = nearest(name, options, most)
    if found:
        return f"; did you mean {' or '.join(repr(f) for f in found)}?"
    return f"; known: {', '.join(options)}" if len(options) <= 40 else ""
