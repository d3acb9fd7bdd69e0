"""What every test shares: one thread each, so that workers do not fight for cores, and a seeded generator."""

import pytest
import torch

pytest_plugins = ["browser"]  # fixtures of the tests in a real browser

torch.set_num_threads(1)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
