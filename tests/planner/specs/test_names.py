"""Names as people write them."""

from planner.specs.names import looks_like_path, matching, meant, nearest, normalised


def test_case_punctuation_and_organisation_do_not_matter() -> None:
    assert normalised("Qwen/Qwen3-8B") == normalised("qwen3_8b") == "qwen38b"
    assert matching("LLAMA 3.1 405B", ["llama-3.1-405b"]) == "llama-3.1-405b"
    assert matching("---", ["llama-3.1-405b"]) is None


def test_a_beginning_comes_before_a_resemblance() -> None:
    assert nearest("nvlink4", ["nvlink2", "nvlink4-nvswitch"]) == ["nvlink4-nvswitch"]


def test_what_resembles_nothing_brings_the_choices() -> None:
    assert meant("zzz", ["b", "a"]) == "; known: a, b"


def test_a_suffix_or_an_existing_file_makes_a_path() -> None:
    assert looks_like_path("cluster.yaml")
    assert looks_like_path(__file__)
    assert not looks_like_path("dgx-h100-256")
    assert not looks_like_path("nul\0")
