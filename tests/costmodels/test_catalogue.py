"""The hardware catalogue against figures of the vendors' data sheets."""

from pathlib import Path

import pytest

from costmodels.catalogue import CatalogueError, load_catalogue

# Data-sheet figures: dense bf16 TFLOP/s, memory in GB (1e9), TB/s.
DATA_SHEETS = {
    "a100-sxm-40gb": (312, 40, 1.555),
    "a100-sxm-80gb": (312, 80, 2.039),
    "a100-pcie-80gb": (312, 80, 1.935),
    "h100-sxm-80gb": (989, 80, 3.35),
    "h100-pcie-80gb": (756, 80, 2.0),
    "h100-nvl-94gb": (835, 94, 3.9),
    "h200-sxm-141gb": (989, 141, 4.8),
    "b200-sxm-180gb": (2250, 180, 8.0),
    "b300-sxm-288gb": (2250, 288, 8.0),
    "gb200-186gb": (2500, 186, 8.0),
    "gb300-279gb": (2500, 279, 8.0),
    "l40s-48gb": (362, 48, 0.864),
    "rtx-4090-24gb": (165, 24, 1.008),
    "mi300x-192gb": (1307, 192, 5.3),
}
ENTRY = (
    "gpus:\n  mine:\n    architecture: hopper\n    memory_bytes: {memory}\n    memory_bytes_per_second: 3.0e+12\n"
    "    peak_flops: {{bf16: 9.0e+14}}\n    source: measured\n"
)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "hardware.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("name", "tflops", "gigabytes", "terabytes"), [(n, *f) for n, f in DATA_SHEETS.items()])
def test_a_part_has_the_dense_figures_of_its_data_sheet(
    name: str, tflops: float, gigabytes: float, terabytes: float
) -> None:
    gpu = load_catalogue().gpus[name]
    assert gpu.peak_flops["bf16"] / 1e12 == pytest.approx(tflops, rel=0.002)
    assert gpu.memory_bytes_per_second / 1e12 == pytest.approx(terabytes, rel=0.001)
    assert 1.0 <= gpu.memory_bytes / 1e9 / gigabytes < 1.075  # a GB of HBM is between 1e9 and 2**30 bytes


def test_halving_the_width_doubles_the_rate() -> None:
    """Tensor cores: fp8 is twice bf16 and fp4 at least twice fp8, on every part that has them."""
    for gpu in load_catalogue().gpus.values():
        peaks = gpu.peak_flops
        if "fp8" in peaks:
            assert peaks["fp8"] == pytest.approx(2 * peaks["bf16"], rel=0.02)
        if "fp4" in peaks:
            assert peaks["fp4"] >= 2 * peaks["fp8"]


def test_volta_has_no_bf16_and_ampere_no_fp8() -> None:
    gpus = load_catalogue().gpus
    assert set(gpus["v100-sxm2-32gb"].peak_flops) == {"fp16"}
    assert set(gpus["a100-sxm-80gb"].peak_flops) == {"fp16", "bf16"}


def test_nvlink_figures_are_one_direction() -> None:
    """Data sheets print both directions together: 600, 900 and 1,800 GB/s."""
    links = load_catalogue().links
    assert [links[n].bytes_per_second for n in ("nvlink3-nvswitch", "nvlink4-nvswitch", "nvlink5-nvswitch")] == [
        600e9 / 2,
        900e9 / 2,
        1800e9 / 2,
    ]


def test_every_entry_names_its_source() -> None:
    catalogue = load_catalogue()
    assert set(catalogue.sources) == {*catalogue.gpus, *catalogue.links}
    assert all(len(source) > 20 for source in catalogue.sources.values())


def test_the_best_dense_peak_of_an_architecture() -> None:
    catalogue = load_catalogue()
    assert catalogue.dense_peak("hopper", "bf16") == 989.4e12
    assert catalogue.dense_peak("hopper", "fp4") is None


def test_a_users_file_adds_and_replaces(tmp_path: Path) -> None:
    catalogue = load_catalogue(written(tmp_path, ENTRY.format(memory="1.0e+11").replace("mine", "h100-sxm-80gb")))
    assert catalogue.gpus["h100-sxm-80gb"].memory_bytes == 1e11
    assert catalogue.sources["h100-sxm-80gb"] == "measured"
    assert "a100-sxm-80gb" in catalogue.gpus
    assert load_catalogue().gpus["h100-sxm-80gb"].memory_bytes == 81559 * 2**20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ENTRY.format(memory="-1"), "gpus.mine.memory_bytes: -1: must be a number above zero"),
        (ENTRY.format(memory=".nan"), "gpus.mine.memory_bytes: nan: must be a number above zero"),
        (ENTRY.format(memory="1.0e11"), "YAML wants a sign in the exponent"),
        (ENTRY.format(memory="1").replace("source: measured", "sauce: x"), "gpus.mine.sauce: unknown key"),
        (ENTRY.format(memory="1").replace("    source: measured\n", ""), "gpus.mine.source: must be a text"),
        (ENTRY.format(memory="1").replace("bf16", "tf32"), "gpus.mine.peak_flops.tf32: unknown key"),
        ("gpu: {}\n", "gpu: unknown key; known: gpus, links"),
        ("gpus: [1]\n", "gpus: must be a mapping"),
        ("gpus: {a: 3}\n", "gpus.a: must be a mapping"),
        ("a: &a 1\nb: *a\n", "uses a YAML alias"),
        ("- 1\n", "must hold a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_file_names_entry_and_key(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(CatalogueError, match=r"hardware\.yaml: ") as caught:
        load_catalogue(written(tmp_path, text))
    assert expected in str(caught.value)


def test_a_missing_file_is_an_ordinary_error(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be read"):
        load_catalogue(tmp_path / "absent.yaml")
