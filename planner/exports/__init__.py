"""Files for a runtime from a plan, one module per consumer; what a runtime cannot express is refused by name."""

from importlib import import_module
from typing import TYPE_CHECKING

from planner.exports.targets import TARGETS, ExportRefused, UnknownTarget, target_named

if TYPE_CHECKING:
    from planner.plan import Plan

__all__ = ["TARGETS", "ExportRefused", "UnknownTarget", "export"]


def export(plan: "Plan", target: str) -> dict[str, str]:
    """The files that ``target`` reads, name to text, the main one first.

    Raises ``UnknownTarget`` for a name that is not in ``TARGETS``, ``ExportRefused`` with every part of the
    plan that the target cannot express.
    """
    module = import_module(f"planner.exports.{target_named(target).module}")
    files: dict[str, str] = module.files(plan)
    return files
