"""Hot loops compiled to machine code, once per machine where a folder for that can be written."""

from collections.abc import Callable
from typing import Any, Literal

import numba


def compiled(function: Callable[..., Any], inline: bool = False, inner: bool = False) -> Any:
    """``function`` of numbers and numpy arrays, compiled at its first call; it releases the interpreter's lock.

    ``inline`` writes it into its callers. ``inner``: called by compiled functions alone; nothing that unpacks its
    arguments is compiled. ``.py_func`` of the result is the function itself.
    """
    how: Literal["always", "never"] = "always" if inline else "never"
    options: dict[str, Any] = {"nogil": True, "inline": how, "no_cpython_wrapper": inner, "no_cfunc_wrapper": inner}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep compiled code in
        return numba.njit(**options)(function)
