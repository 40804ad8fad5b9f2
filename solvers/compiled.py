"""Hot loops compiled to machine code, once per machine where a folder for that can be written."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Any:
    """``function`` of numbers and numpy arrays, compiled at its first call; it releases the interpreter's lock.

    ``.py_func`` of the result is the function itself.
    """
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder to keep compiled code in
        return numba.njit(nogil=True)(function)
