"""Styles of all panels."""

import pytest
from matplotlib.colors import LogNorm

import fastlin as fl


def test_a_style_is_that_of_all_panels(dataset):
    figure = fl.plot.sweep(dataset, "loss", style=fl.plot.Style(log=True, size=(9, 5), cmap="magma"))
    assert tuple(figure.get_size_inches()) == (9, 5)
    meshes = [ax.collections[0] for ax in figure.axes[:3]]
    assert {mesh.cmap.name for mesh in meshes} == {"magma"}
    assert all(isinstance(mesh.norm, LogNorm) for mesh in meshes)
    assert figure.axes[3].get_yscale() == "log"


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ({"cmap": "viridi"}, "cmap is 'viridi', no colour map of Matplotlib; try viridis"),
        ({"size": (0, 4)}, "size is 0; it must be above 0"),
        ({"size": 3}, "size is 3; needed are width and height in inches"),
        ({"log": "a"}, "log is 'a'; allowed: true, false"),
        ({"cmap": [3]}, r"cmap is \[3\], no colour map"),
    ],
)
def test_a_wrong_style_is_named(style, message):
    with pytest.raises(fl.InputError, match=message):
        fl.plot.Style(**style)
