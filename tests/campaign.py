"""Repetition of tests: a few times by default, many times with `pytest -m campaign`."""

import itertools

import pytest


def trials(few, many):
    """Run a test with few trials, and in the campaign with many."""
    numbers = {few: (), many: pytest.mark.campaign}
    given = [pytest.param(number, id=f"{number}-trials", marks=marks) for number, marks in numbers.items()]
    return pytest.mark.parametrize("trials", given)


def combinations(quick, **values):
    """Run a test with all combinations of named values. Those outside `quick` are slow tests.

    Parameters
    ----------
    quick : iterable of tuple of str
        Names, one of each argument.
    **values : dict
        Values of each argument by name.
    """
    quick = set(quick)
    assert quick <= set(itertools.product(*values.values()))
    parameters = [
        pytest.param(
            *(of[name] for of, name in zip(values.values(), names, strict=True)),
            id="-".join(names),
            marks=() if names in quick else pytest.mark.slow,
        )
        for names in itertools.product(*values.values())
    ]
    return pytest.mark.parametrize(tuple(values), parameters)
