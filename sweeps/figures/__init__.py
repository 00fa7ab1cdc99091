"""The figures of the paper, and some beyond it, drawn from the project's own results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.sweeps.read.picture import check_file
from fastlin.validation import check_choice

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "fig1": "Figure 1: one bottleneck over time at lam = 1, 0, -1, gradient descent and closed form",
        "fig2": "Figure 2: the kernel distance of four architectures and four bottlenecks over lam",
        "wide": "beyond the paper: wide networks over lam and kappa, to which Gaussian networks tend",
        "reversal": "beyond the paper: the half time of a reversal, over lam and the length of a first task",
        "forgetting": "beyond the paper: a task forgotten by a similar one, over similarity and lam",
        "transfer": "beyond the paper: fine-tuning after pre-training, its kernel distance and its time",
        "lora": "beyond the paper: LoRA, loss over rank, time to converge, rich and lazy fine-tuning",
    }
)
DPI = 150
# Dates are left out, so that a figure is the same bytes each time.
_UNDATED: Mapping[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def draw(
    name: str,
    out: str | Path,
    architectures: Sequence[Architecture] | None = None,
    *,
    progress: bool = False,
    dark: bool = False,
) -> Path:
    """Draw a figure into a file.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    out : str or Path
        The file: .png, .svg or .pdf.
    architectures : sequence of Architecture, optional
        For fig2, one to six in place of the paper's.
    progress : bool
        Show the progress of the sweeps of all but fig1, as `run_sweep` does.
    dark : bool
        Draw in the dark theme.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If there is no such figure, the file could not be written, or the architectures do not fit the
        figure or the memory.
    """
    check_choice("figure", name, list(NAMES))
    target = check_file(out)
    if architectures is not None and name != "fig2":
        raise InputError(f"{name} has architectures of its own; others are for fig2")
    from matplotlib.style import context

    from fastlin.plot.saving import save
    from fastlin.sweeps.figures import fig1, fig2, forgetting, lora, reversal, transfer, wide
    from fastlin.sweeps.figures.style import STYLE

    drawers: dict[str, Callable[[], Any]] = {
        "fig1": fig1.figure,
        "fig2": lambda: fig2.figure(architectures, progress=progress),
        "wide": lambda: wide.figure(progress=progress),
        "reversal": lambda: reversal.figure(progress=progress),
        "forgetting": lambda: forgetting.figure(progress=progress),
        "transfer": lambda: transfer.figure(progress=progress),
        "lora": lambda: lora.figure(progress=progress),
    }
    figure = drawers[name]()
    with context([*STYLE, {"svg.hashsalt": name}]):
        save(figure, target, dark=dark, dpi=DPI, metadata=_UNDATED.get(target.suffix.lower()))
    return target
