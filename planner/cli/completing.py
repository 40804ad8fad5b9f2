"""Names that the shell completes: bundled clusters, models and cases, and files."""

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem


def cluster_names(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    import cases

    return _matching(cases.cluster_names(), begun, files=True)


def model_names(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    import cases

    return _matching(cases.model_names(), begun, files=True)


def case_names(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    import cases

    return _matching(["all", "published", *(case["name"] for case in cases.list_cases())], begun)


def source_names(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    import cases

    return _matching(cases.published_sources()["sources"], begun)


def _matching(names: Iterable[str], begun: str, files: bool = False) -> list[CompletionItem]:
    found = [CompletionItem(name) for name in names if name.startswith(begun)]
    return found or ([CompletionItem(begun, type="file")] if files else [])
