"""How often the faults are tried: a few times with all tests, many times by `pytest -m campaign`."""

import pytest


def trials(quick, full):
    """Run a test once with `trials` few, and in the campaign once with many."""
    campaign = pytest.param(full, id=f"{full}-trials", marks=pytest.mark.campaign)
    return pytest.mark.parametrize("trials", [pytest.param(quick, id=f"{quick}-trials"), campaign])
