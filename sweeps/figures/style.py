"""The style of the paper's figures, which is the same whatever style a reader prefers for others."""

from typing import Any

STYLE: list[Any] = ["default", {"font.size": 9.0}]
