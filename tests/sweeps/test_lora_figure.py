"""The figure of LoRA draws the computed numbers, and agrees with what is known of adapters."""

import numpy as np
import pytest

import fastlin as fl
from fastlin.observables.regimes import THRESHOLD
from fastlin.sweeps import figures, presets
from fastlin.sweeps.figures import lora
from tests import legible


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The preset with two seeds and seven values of alpha."""
    text = presets.text(lora.PRESET).replace("num = 10", "num = 2").replace("num = 13", "num = 7")
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("preset")
        (folder / "lora.toml").write_text(text)
        patch.setattr(lora, "PRESET", "lora.toml")
        patch.chdir(folder)
        yield lora.measure()


@pytest.fixture(scope="module")
def figure(measured):
    return lora.compose(measured)


def line(ax, label):
    (found,) = [entry for entry in ax.lines if entry.get_label() == label]
    return np.asarray(found.get_xdata(), dtype=float), np.asarray(found.get_ydata(), dtype=float)


def test_the_end_is_the_truncation(measured, figure):
    assert lora.largest_error(measured) < 1e-9
    _, end = line(figure.axes[0], r"$t = \infty$")
    assert (np.diff(end) < 0.0).all()
    assert end[-1] == pytest.approx(0.0, abs=1e-12)


def test_high_ranks_are_held_back_by_the_factor_of_lora_alone(figure):
    late = {scaling: line(figure.axes[0], rf"$t = 10$, {text}")[1] for scaling, text in lora.SCALINGS.items()}
    assert late["alpha/r"][-1] > late["alpha/r"][2]
    assert (np.diff(late["alpha/sqrt(r)"]) < 0.0).all()
    assert late["alpha/r"][0] == late["alpha/sqrt(r)"][0]


def test_alpha_shortens_the_time_of_full_rank_alone(figure):
    _, full = line(figure.axes[2], "$r = 8$")
    _, low = line(figure.axes[2], "$r = 2$")
    alphas, _ = line(figure.axes[2], "$r = 8$")
    slope = np.log(full[-1] / full[-2]) / np.log(alphas[-1] / alphas[-2])
    assert slope == pytest.approx(-2.0, abs=0.1)
    assert low[-1] / low[-2] == pytest.approx(1.0, abs=0.02)


def test_only_full_rank_becomes_lazy(figure):
    ends = {rank: line(figure.axes[1], f"$r = {rank}$")[1][-1] for rank in lora.RANKS}
    assert ends[8] < 0.01
    assert min(ends[rank] for rank in (1, 2, 4)) > 0.15


def test_the_caption_states_the_settings_on_the_page(figure):
    caption = figure._supxlabel.get_text()
    for words in (
        "8-8-8",
        "cosine with that of the task is 0.5",
        "2 seeds",
        r"$\alpha = 1$",
        "Preset: lora",
    ):
        assert words in caption.replace("\n", " ")
    legible.check(figure)


def test_regimes_are_named_at_their_borders(figure):
    heights = {text.get_text(): text.get_position()[1] for text in figure.axes[1].texts}
    assert heights == {"lazy": THRESHOLD[0], "rich": THRESHOLD[1]}


def test_it_is_drawn_by_name(figure, monkeypatch, tmp_path):
    monkeypatch.setattr(lora, "figure", lambda **_options: figure)
    figures.draw("lora", tmp_path / "x.svg")
    assert (tmp_path / "x.svg").read_bytes().startswith(b"<?xml")
    with pytest.raises(fl.InputError, match="lora has architectures of its own"):
        figures.draw("lora", tmp_path / "y.svg", [fl.Architecture(4, 2, 4)])
