"""The style of the figures: the light theme, without the user's style of Matplotlib."""

from typing import Any

from fastlin.plot.themes import parameters

STYLE: list[Any] = ["default", parameters("light")]
