"""How often a test is repeated: a few times with all tests, many times by `pytest -m campaign`."""

import itertools

import pytest


def trials(quick, full, slow=None):
    """Run a test once with `trials` few, in the campaign once with many, and as a slow test with `slow`."""
    numbers = {quick: (), full: pytest.mark.campaign}
    if slow is not None:
        numbers[slow] = pytest.mark.slow
    given = [pytest.param(number, id=f"{number}-trials", marks=marks) for number, marks in numbers.items()]
    return pytest.mark.parametrize("trials", given)


def combinations(quick, **values):
    """Run a test with all combinations of values, which have names; those not in `quick` as slow tests.

    Parameters
    ----------
    quick : iterable of tuple of str
        Names, one of each argument.
    **values : dict
        Values of each argument by name.
    """
    quick = set(quick)
    assert quick <= set(itertools.product(*values.values()))
    given = [
        pytest.param(
            *(of[name] for of, name in zip(values.values(), names, strict=True)),
            id="-".join(names),
            marks=() if names in quick else pytest.mark.slow,
        )
        for names in itertools.product(*values.values())
    ]
    return pytest.mark.parametrize(tuple(values), given)
