"""The style of the paper's figures, which does not depend on the user's style of Matplotlib."""

from typing import Any

STYLE: list[Any] = ["default", {"font.size": 9.0}]
