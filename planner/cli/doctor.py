"""``plan doctor``: what this environment has, lacks and cannot combine."""

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import click

REQUIRED = ("click", "numpy", "ortools", "pydantic", "PyYAML", "scipy")
OPTIONAL = {
    "PuLP": "integer programmes of published expert placements (CBC); its import pulls highspy in if that is there",
    "highspy": "not used; clashes with ortools",
}
CLASH = (
    "highspy and ortools cannot live in one process (both carry HiGHS), and 'import pulp' pulls highspy in: "
    "pip uninstall highspy"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """``version`` is None when the package is not installed."""

    name: str
    version: str | None
    required: bool
    use: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    python: str
    platform: str
    meshwright: str | None
    packages: tuple[Package, ...]
    problems: tuple[str, ...]


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def diagnose() -> Diagnosis:
    """Versions from package metadata alone: nothing is imported, no GPU is touched."""
    packages = [Package(name=n, version=installed(n), required=True, use="always") for n in REQUIRED]
    packages += [Package(name=n, version=installed(n), required=False, use=u) for n, u in OPTIONAL.items()]
    have = {package.name for package in packages if package.version}
    problems = [f"{p.name} is missing: pip install {p.name}" for p in packages if p.required and not p.version]
    if {"highspy", "ortools"} <= have:
        problems.append(CLASH)
    return Diagnosis(
        python=platform.python_version(),
        platform=platform.platform(),
        meshwright=installed("meshwright"),
        packages=tuple(packages),
        problems=tuple(problems),
    )


@click.command(short_help="Check this environment.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Show versions and known clashes. No GPU is needed. Exit code 1 when something must be fixed."""
    from planner.cli.output import echo_json, table

    found = diagnose()
    if as_json:
        echo_json(found)
    else:
        click.echo(f"meshwright {found.meshwright or 'not installed'}, Python {found.python}, {found.platform}\n")
        rows = [(p.name, p.version or "-", "required" if p.required else "optional", p.use) for p in found.packages]
        click.echo(table(("package", "version", "need", "used for"), rows, text=range(4)))
        click.echo("\n" + ("\n".join(f"problem: {p}" for p in found.problems) or "No problems found."))
    ctx.exit(1 if found.problems else 0)
