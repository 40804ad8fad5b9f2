"""A consumer that is not installed skips its tests; where consumers are required it fails them."""

import importlib
import os
from importlib.metadata import PackageNotFoundError, version

import pytest

REQUIRE = "MESHWRIGHT_REQUIRE_CONSUMERS"
VERSIONS = {"torch": "2.13.0", "megatron-core": "0.16.1"}
"""As the extra pins them: the tests use private parts of both."""


def need_consumer(package: str, module: str) -> None:
    """Skip the calling module unless ``package`` is there in its version; fail if that is required."""
    try:
        found = version(package).split("+")[0]
    except PackageNotFoundError:
        found = "missing"
    if found == VERSIONS[package]:
        importlib.import_module(module)
        return
    reason = f"{package} {VERSIONS[package]} is needed, found: {found}; pip install '.[consumers]'"
    if os.environ.get(REQUIRE):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)
