"""Files of pictures."""

import matplotlib as mpl
import pytest
from matplotlib.texmanager import TexManager

import fastlin as fl
from fastlin.plot.saving import save


def test_latex_that_is_missing_is_named(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(TexManager, "_cache_dir", tmp_path, raising=False)
    figure = fl.plot.sweep(dataset, "loss")
    with mpl.rc_context({"text.usetex": True}):
        figure = fl.plot.sweep(dataset, "loss")
        with pytest.raises(fl.InputError, match=r"text.usetex is true .* latex could not be found") as caught:
            save(figure, tmp_path / "p.png")
    assert "\n" not in str(caught.value)
