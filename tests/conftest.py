"""What every test shares: one thread each, so that workers do not fight for cores, and a seeded generator."""

import pytest
import torch

import shape_checks

pytest_plugins = ["browser", "runs"]  # fixtures of the tests in a real browser, and a trained run

shape_checks.install()  # before anything imports the package
torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    shape_checks.forget_calls()


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
