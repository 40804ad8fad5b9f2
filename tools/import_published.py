"""Write ``cases/published/*.csv``, the bundled tables of published training runs.

A development command. SOURCE_DIR holds tables of training runs with the columns that ``plan predict --rows``
reads, and more; files of other kinds (communication timings, model shapes) are left alone.

    python -m tools.import_published SOURCE_DIR... [--check]

One table is written per family of sources. Of each row it keeps where the row comes from, what was
measured, and only what the reader uses: a column, or a key of ``extra_json``, stays when leaving it out
would change what the reader makes of any row of the family. Afterwards every written row is read again and
must be the same question with the same measured values as the original; ``--check`` does only that.
"""

import argparse
import csv
import io
import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from cases import published_folder
from planner.readers.published.refusals import NOT_A_RUN
from planner.readers.published.table import Cells, read_table
from planner.readers.published_rows import Row, read_row

KEPT = ("row_id", "source_id", "source_ref", "source_date", "model", "gpu", "peak_mem_kind", "outcome", "gbs")
"""Where a row comes from, how its run ended, and the batch, even where the reader could work it out."""
PARTS_OF_A_FAMILY = re.compile(r"-(layer|mem|multi|single|15b|340b)$")
FREE_TEXT = ("notes", "config_completeness")
"""Prose: of each cell only the clauses stay in which the reader finds something."""
REMARK = re.compile(r" [(\[][^()\[\]]*[)\]]$|; stored text id \d+$")
"""A remark after the place in ``source_ref``; ``sources.yaml`` names the publication once."""


def originals(*folders: Path) -> Iterator[Cells]:
    """The rows of every table of training runs in ``folders``."""
    for path in (path for folder in folders for path in sorted(folder.glob("*.csv"))):
        table = read_table(path)
        if "row_id" in table.columns and not set(NOT_A_RUN) & set(table.columns):
            yield from table.rows


def families(rows: Iterable[Cells]) -> dict[str, list[Cells]]:
    found: dict[str, list[Cells]] = {}
    for cells in rows:
        found.setdefault(PARTS_OF_A_FAMILY.sub("", cells["source_id"]), []).append(cells)
    return dict(sorted(found.items()))


def meaning(cells: Cells) -> Row:
    """What the reader makes of a row, its text left out."""
    return read_row({**cells}, "row").without_cells()


def compact(rows: list[Cells]) -> list[dict[str, str]]:
    """The rows with only what is needed: prose cells first, then keys of ``extra_json``, then columns.

    One after another, so that of two that say the same the later stays.
    """
    found = [dict(cells) for cells in rows]
    wanted = [meaning(cells) for cells in rows]
    for cells, want in zip(found, wanted, strict=True):
        for column in FREE_TEXT:
            cells[column] = _clauses(cells, column, want)
        place = REMARK.sub("", cells.get("source_ref", ""))
        if meaning({**cells, "source_ref": place}) == want:
            cells["source_ref"] = place
    extras = [json.loads(cells.get("extra_json") or "{}") for cells in found]
    for key in list({key: None for extra in extras for key in extra}):
        without = [{name: value for name, value in extra.items() if name != key} for extra in extras]
        fewer = [{**cells, "extra_json": _json(extra)} for cells, extra in zip(found, without, strict=True)]
        if all(key not in e or meaning(c) == w for e, c, w in zip(extras, fewer, wanted, strict=True)):
            extras, found = without, fewer
    found = [{**cells, "extra_json": _json(extra)} for cells, extra in zip(found, extras, strict=True)]
    for column in list({column: None for cells in found for column in cells}):
        fewer = [{name: cell for name, cell in cells.items() if name != column} for cells in found]
        idle = all(not c.get(column) or meaning(f) == w for c, f, w in zip(found, fewer, wanted, strict=True))
        if idle and (column not in KEPT or not any(cells.get(column) for cells in found)):
            found = fewer
    return [{column: _plain(cells.get(column, "")) for column in found[0]} for cells in found]


def _clauses(cells: Cells, column: str, want: Row) -> str:
    kept = re.split(r"[,;] ?", cells.get(column, ""))
    for clause in list(kept):
        rest = [other for other in kept if other != clause]
        if meaning({**cells, column: ", ".join(rest)}) == want:
            kept = rest
    return ", ".join(kept)


def _json(extra: dict[str, object]) -> str:
    return json.dumps(extra, separators=(",", ":")) if extra else ""


def _plain(cell: str) -> str:
    """``8.0`` as ``8``; a duration with its digits as they are."""
    return cell[:-2] if re.fullmatch(r"\d+\.0", cell) else cell


def as_csv(rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def differing(rows: list[Cells], path: Path) -> list[str]:
    """Names of rows that the written table turns into another question."""
    written = {cells["row_id"]: cells for cells in read_table(path).rows}
    missing = [cells["row_id"] for cells in rows if cells["row_id"] not in written]
    return missing + [
        cells["row_id"]
        for cells in rows
        if cells["row_id"] in written and meaning(cells) != meaning(written[cells["row_id"]])
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path, nargs="+", help="folders with the tables as collected")
    parser.add_argument("--check", action="store_true", help="write nothing; compare what is bundled")
    arguments = parser.parse_args()
    found = families(originals(*arguments.sources))
    if not found:
        folders = ", ".join(map(str, arguments.sources))
        raise SystemExit(f"{folders}: no table of training runs in it (*.csv with a row_id column)")
    folder, total = published_folder(), 0
    with tempfile.TemporaryDirectory() as scratch:
        for family, rows in found.items():
            target = folder / f"{family}.csv"
            if not arguments.check:
                draft = Path(scratch) / target.name
                draft.write_text(as_csv(compact(rows)), encoding="utf-8", newline="")
                if wrong := differing(rows, draft):
                    raise SystemExit(f"{family}: left out too much: {', '.join(wrong[:5])} differ; nothing written")
                target.write_bytes(draft.read_bytes())
            wrong = differing(rows, target)
            total += target.stat().st_size
            print(f"{target.name:<20} {len(rows):>4} rows {target.stat().st_size:>8,} bytes", end="  ")
            print(f"DIFFER: {', '.join(wrong)}" if wrong else "same questions and measured values")
    print(f"{total:,} bytes")


if __name__ == "__main__":
    main()
