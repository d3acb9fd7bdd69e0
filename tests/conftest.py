"""What every test shares: one thread each, so that workers do not fight for cores, and a seeded generator."""

from collections.abc import Iterator

import pytest
import torch

import shape_checks

pytest_plugins = ["browser", "hub", "runs"]  # fixtures: a real browser, a hub, a trained run

shape_checks.install()  # before anything imports the package
torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    shape_checks.forget_calls()


@pytest.fixture(scope="module", autouse=True)
def calibrated_quickly(request: pytest.FixtureRequest) -> Iterator[None]:
    """Calibrate maps quickly, except in modules whose laws need it done with all samples."""
    from runs import quick_calibration  # a plugin, which pytest imports itself

    if request.node.get_closest_marker("calibration"):
        yield
    else:
        with quick_calibration():
            yield


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
