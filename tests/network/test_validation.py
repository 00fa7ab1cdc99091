"""Messages about arguments stay one short line, whatever the argument is."""

import numpy as np
import pytest
import xarray as xr

import fastlin as fl
from fastlin.validation import shown

LOSS = xr.DataArray(np.zeros((2, 3)), {"lam": [0.0, 1.0]}, ("lam", "time"), "loss")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (LOSS, "<DataArray (lam: 2, time: 3)>"),
        (LOSS.to_dataset(), "<Dataset (lam: 2, time: 3)>"),
        (LOSS.chunk().data, "<Array (2, 3)>"),
        (np.zeros(40), "<ndarray (40,)>"),
        (np.float64(0.5), "0.5"),
        (xr.Dataset, "<class 'xarray.core.dataset.Dataset'>"),
        ("a" * 70, f"'{'a' * 49}... (72 characters)"),
    ],
)
def test_values_are_shown_in_one_short_form(value, text):
    assert shown(value) == text


def test_a_dataset_in_place_of_an_observable_is_named_by_its_dimensions():
    with pytest.raises(fl.InputError, match=r"^da is <Dataset \(lam: 2, time: 3\)>; needed is one of class"):
        fl.plot.phase_diagram(LOSS.to_dataset())
