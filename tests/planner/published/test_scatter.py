"""The picture: well-formed, every point in its place."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from planner.published.scatter import MARGIN, SIDE, TOP, Panel, PlotError, Point, panels, svg, write_plot
from tests.planner.published.made import made

SVG = "{http://www.w3.org/2000/svg}"


def point(measured: float, predicted: float, source: str = "a") -> Point:
    return Point(source_id=source, row_id=f"{source}<1>&", measured=measured, predicted=predicted)


def circles(text: str) -> list[tuple[float, float]]:
    found = ElementTree.fromstring(text).iter(f"{SVG}circle")
    return [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in found if c.find(f"{SVG}title") is not None]


def test_points_stand_where_their_logarithms_say() -> None:
    """Decades 1 to 100: 10 is in the middle; 1 at the lower left, 100 at the upper right corner."""
    panel = Panel(title="Step time", unit="s", points=(point(1, 1), point(10, 10), point(100, 1), point(100, 100)))
    assert panel.decades() == (0, 2)
    left, right, bottom = MARGIN, MARGIN + SIDE, TOP + SIDE
    middle = (left + SIDE / 2, TOP + SIDE / 2)
    assert circles(svg([panel], ["a"])) == [(left, bottom), middle, (right, bottom), (right, TOP)]


def test_text_is_escaped_and_each_source_is_in_the_legend_once() -> None:
    panel = Panel(title="Step time", unit="s", points=(point(1, 2), point(2, 2, "b"), point(3, 3, "b")))
    root = ElementTree.fromstring(svg([panel], ["a", "b", "without points"]))
    titles = [t.text or "" for t in root.iter(f"{SVG}title")]
    assert titles[0].startswith("a<1>&: measured 1 s, predicted 2")
    words = [t.text for t in root.iter(f"{SVG}text")]
    assert words.count("a") == words.count("b") == 1
    assert "without points" not in words


def test_panels_are_of_scored_rows_with_both_figures() -> None:
    rows = [made(2, 3), made(None, 3), made(4, 4, memory=(40.0, 41.0), peak_mem_unit="GiB")]
    seconds, memory = panels(rows)
    assert [(p.measured, p.predicted) for p in seconds.points] == [(2, 3), (4, 4)]
    assert [p.measured for p in memory.points] == [pytest.approx(40 * 2**30 / 1e9)]
    assert panels([made(None, 3)]) == []


def test_the_file_is_written_or_refused_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plot(tmp_path / "a.svg", [made(2, 3)])
    assert len(circles((tmp_path / "a.svg").read_text())) == 1
    with pytest.raises(PlotError, match=r"FILE.svg or FILE.png"):
        write_plot(tmp_path / "a.gif", [made(2, 3)])
    with pytest.raises(PlotError, match="nothing to plot"):
        write_plot(tmp_path / "b.svg", [made(None, 3)])
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(PlotError, match="needs matplotlib"):
        write_plot(tmp_path / "a.png", [made(2, 3)])
    assert not (tmp_path / "a.png").exists()
