"""How often a test is repeated: a few times with all tests, many times by `pytest -m campaign`."""

import pytest


def trials(quick, full, slow=None):
    """Run a test once with `trials` few, in the campaign once with many, and as a slow test with `slow`."""
    numbers = {quick: (), full: pytest.mark.campaign}
    if slow is not None:
        numbers[slow] = pytest.mark.slow
    given = [pytest.param(number, id=f"{number}-trials", marks=marks) for number, marks in numbers.items()]
    return pytest.mark.parametrize("trials", given)
