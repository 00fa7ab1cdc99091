"""The style of the figures: the light theme, without the user's style of Matplotlib."""

from typing import Any

from fastlin.plot.themes import rc_params

STYLE: list[Any] = ["default", rc_params("light")]
