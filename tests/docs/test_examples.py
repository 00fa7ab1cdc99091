"""Docstrings of public names: their examples run, and they name the parameters that there are."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import fastlin as fl
from fastlin.sweeps.read.accessor import SweepAccessor
from tests.docs.test_project import MODULES

PAGE = Path(fl.__file__).parent / "docs" / "reference" / "names.md"
# Classes that users do not construct. Their docstrings have attributes in place of parameters.
MADE_BY_FASTLIN = (fl.Spec, fl.plot.Pages, SweepAccessor, type(fl.OBSERVABLES["loss"]))
# Faults that numpydoc finds: sections that are misspelt or in another order, parameters that are missing,
# unknown, in another order or without a description, and results without a section.
FAULTS = {"GL06", "GL07", "GL08", "SS01", "PR01", "PR02", "PR03", "PR07", "PR10", "RT01", "YD01"}


def methods(value):
    """Yield the public methods of a class, and nothing of anything else."""
    if inspect.isclass(value) and not issubclass(value, BaseException):
        for name in dir(value):
            plain = inspect.isfunction(inspect.getattr_static(value, name))
            if not name.startswith("_") and (plain or inspect.ismethod(getattr(value, name))):
                yield getattr(value, name)


def public():
    """Return all public functions, classes and methods."""
    names = [getattr(fl, name) for name in fl.__all__] + [getattr(fl.plot, name) for name in fl.plot.__all__]
    values = [value for value in names if inspect.isclass(value) or inspect.isfunction(value)]
    values.append(SweepAccessor)  # ds.fastlin
    return [*values, *(method for value in values for method in methods(value)), type(fl.OBSERVABLES["loss"])]


def place(value):
    return f"{value.__module__}.{value.__qualname__}"


EVERY = sorted({place(value): value for value in public()}.items())


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module, swept, monkeypatch):
    """The working folder has a store of the name that the examples use."""
    monkeypatch.chdir(swept.parent)
    results = doctest.testmod(importlib.import_module(module), extraglobs={"fl": fl, "np": np})
    plt.close("all")
    assert results.failed == 0


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not beside an installed wheel's tests")
def test_the_store_of_the_examples_is_that_of_the_documentation(swept, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (cell,) = re.findall(r"^```\{code-cell\}\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    exec(cell, {})
    written, expected = fl.open_sweep("small.zarr"), fl.open_sweep(swept)
    assert written.attrs["spec"] == expected.attrs["spec"]
    assert written.identical(expected)


@pytest.mark.parametrize("value", [value for _, value in EVERY], ids=[name for name, _ in EVERY])
def test_a_public_name_has_an_example(value):
    """The first test runs it."""
    (found,) = doctest.DocTestFinder(recurse=False).find(value, place(value))
    assert found.examples


@pytest.mark.parametrize("value", [value for _, value in EVERY], ids=[name for name, _ in EVERY])
def test_a_docstring_has_the_parameters_of_its_function(value):
    validation = pytest.importorskip("numpydoc.validate", reason="numpydoc is in fastlin's extra test")
    faults = FAULTS - ({"PR01"} if value in MADE_BY_FASTLIN else set())
    errors = [error for error in validation.validate(place(value))["errors"] if error[0] in faults]
    assert errors == []


def test_all_public_names_are_listed():
    assert set(fl.__all__) == set(dir(fl))
    assert len(EVERY) > 70
    assert "fastlin.sweeps.read.accessor.SweepAccessor.select" in dict(EVERY)
