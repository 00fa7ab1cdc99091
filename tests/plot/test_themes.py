"""The light and the dark theme, and figures that are shown in both."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgba
from matplotlib.image import imread

import fastlin as fl
from fastlin.plot.saving import save
from fastlin.plot.style import COLOURS
from fastlin.plot.themes import LEAST_CONTRAST, PALETTES, contrast, dark_colour

INK, GROUND = PALETTES["dark"]


def texts_of(figure):
    return [text for text in figure.findobj(mpl.text.Text) if text.get_text() and text.get_visible()]


def pixels(figure):
    figure.canvas.draw()
    figure.canvas.draw()  # Constrained layout moves axes a little when it is applied for a second time.
    return np.asarray(figure.canvas.buffer_rgba()).copy()


@pytest.fixture
def figure():
    """A figure with an artist of each kind that has colours."""
    drawn, (left, right) = plt.subplots(1, 2, layout="constrained")
    left.plot([0, 1], [1, 2], "o-", color="black", label="ink")
    left.plot([0, 1], [2, 2], "o", color=COLOURS[0], fillstyle="none", label="blue")
    left.plot([0, 1], [2, 1], "*", color="white", markeredgecolor="black")
    left.fill_between([0, 1], [1, 1], [2, 2], color="0.5", alpha=0.2)
    left.axhline(1.5, color="0.4")
    left.text(0.5, 1.5, "boxed", bbox={"facecolor": "white"})
    left.grid()
    left.legend()
    mesh = right.pcolormesh(np.arange(9.0).reshape(3, 3))
    right.contour(np.arange(9.0).reshape(3, 3), colors="white", levels=[3.5])
    right.patch.set(hatch="////", edgecolor="0.6")
    drawn.colorbar(mesh, ax=right, label="values")
    drawn.suptitle("title")
    return drawn


def test_a_figure_is_dark_within_the_block_and_then_as_it_was(figure):
    light = pixels(figure)
    with fl.plot.in_dark(figure) as same:
        assert same is figure
        dark = pixels(figure)
        assert to_hex(figure.get_facecolor()) == GROUND
        assert all(contrast(text.get_color(), GROUND) > 10 for text in texts_of(figure))
        line, blue, star, grey = figure.axes[0].lines
        assert to_hex(line.get_color()) == to_hex(line.get_markerfacecolor()) == INK
        assert to_hex(blue.get_color()) == COLOURS[0].lower()
        assert blue.get_markerfacecolor() == "none"
        assert (to_hex(star.get_markerfacecolor()), to_hex(star.get_markeredgecolor())) == (GROUND, INK)
        assert contrast(grey.get_color(), GROUND) > LEAST_CONTRAST
    assert np.array_equal(pixels(figure), light)
    assert not np.array_equal(dark, light)
    assert line.get_color() == "black"
    line.set_color("red")
    assert line.get_markerfacecolor() == "red"  # The colour of a marker follows its line as before.


def test_colours_of_values_are_the_same_in_the_dark(figure):
    mesh = figure.axes[1].collections[0]
    figure.canvas.draw()
    colours = mesh.get_facecolor()
    with fl.plot.in_dark(figure):
        figure.canvas.draw()
        assert np.array_equal(mesh.get_facecolor(), colours)


def test_a_figure_is_restored_after_an_error(figure):
    light = pixels(figure)
    with pytest.raises(ZeroDivisionError), fl.plot.in_dark(figure):
        raise ZeroDivisionError
    assert np.array_equal(pixels(figure), light)


def test_files_of_both_themes_differ_in_their_ground(figure, tmp_path):
    with mpl.rc_context({"savefig.facecolor": "white"}):
        for name, dark in (("light", False), ("dark", True)):
            save(figure, tmp_path / f"{name}.png", dark=dark)
            corner = imread(tmp_path / f"{name}.png")[0, 0, :3]
            assert corner == pytest.approx(to_rgba(PALETTES[name][1])[:3], abs=0.01)


@pytest.mark.parametrize("name", list(PALETTES))
def test_pictures_follow_the_theme(dataset, name):
    ink, ground = PALETTES[name]
    with fl.plot.theme(name):
        figure = fl.plot.sweep(dataset)
    assert to_hex(figure.get_facecolor()) == to_hex(ground)
    inked = [text for text in texts_of(figure) if not text.get_path_effects()]
    assert all(to_hex(text.get_color()) == to_hex(ink) for text in inked)


@pytest.mark.parametrize("colour", [*COLOURS, "black", "0.4", "0.6", "#00224e", "red"])
def test_colours_show_on_the_dark_ground(colour):
    assert contrast(dark_colour(colour), GROUND) >= LEAST_CONTRAST


def test_white_becomes_the_ground_and_transparent_colours_stay_so():
    assert to_hex(dark_colour("white")) == GROUND
    assert dark_colour((0.0, 0.0, 0.0, 0.3))[3] == 0.3
    assert contrast("white", "black") == pytest.approx(21.0)


def test_wrong_themes_and_figures_are_named():
    with pytest.raises(fl.InputError, match="theme is 'drak'; did you mean 'dark'"):
        fl.plot.theme("drak")
    with pytest.raises(fl.InputError, match="figure is 3; needed is one of class Figure"), fl.plot.in_dark(3):
        pass
