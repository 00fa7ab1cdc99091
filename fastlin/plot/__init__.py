"""Pictures: axes in, axes out, colour-blind-safe colours.

`phase_diagram`, `profile` and `trajectories` draw a part of a sweep, and `sweep` and `pages` a whole sweep.
`dynamics`, `matrices` and `animation` draw one network.

New figures are those of pyplot, and ``matplotlib.pyplot.close`` closes them. All follow the rcParams of
Matplotlib. `theme` sets these to the light or the dark theme, and `in_dark` shows a light figure in the dark
one.
"""

from fastlin.plot.lines import profile, trajectories
from fastlin.plot.matrices import animation, matrices
from fastlin.plot.network import dynamics
from fastlin.plot.overview import pages, sweep
from fastlin.plot.page import Pages
from fastlin.plot.planes import phase_diagram
from fastlin.plot.style import Style
from fastlin.plot.themes import in_dark, rc_params, theme

__all__ = [
    "Pages",
    "Style",
    "animation",
    "dynamics",
    "in_dark",
    "matrices",
    "pages",
    "phase_diagram",
    "profile",
    "rc_params",
    "sweep",
    "theme",
    "trajectories",
]
