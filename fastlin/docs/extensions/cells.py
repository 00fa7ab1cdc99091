"""Code cells as readers know them: commands of a shell as console input, and files with their names.

A page is a notebook, so that a build executes it. `!fastlin run mine.toml` is shown as
`$ fastlin run mine.toml`, and a cell that begins with `%%writefile mine.toml` is shown as the file mine.toml.
The start-up file in `ipython/` executes both.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

LEXERS = {".toml": "toml", ".csv": "text", ".sh": "bash", ".py": "python"}
WRITE = "%%writefile "


class Cells(SphinxTransform):
    """Rewrite the sources of code cells."""

    default_priority = 200

    def apply(self) -> None:
        """Rewrite every literal block that is a command or a file."""
        for block in list(self.document.findall(nodes.literal_block)):
            if "output" in block.get("classes", ()):
                continue
            text = block.astext()
            if text.startswith("!"):
                _show_commands(block, text)
            elif text.startswith(WRITE):
                _show_file(block, text)


def _show_commands(block: nodes.literal_block, text: str) -> None:
    lines = [f"$ {line[1:]}" if line.startswith("!") else f"> {line}" for line in text.splitlines()]
    _replace(block, "\n".join(lines), "console")


def _show_file(block: nodes.literal_block, text: str) -> None:
    first, _, rest = text.partition("\n")
    name = first.removeprefix(WRITE)
    lexer = next((lexer for ending, lexer in LEXERS.items() if name.endswith(ending)), "text")
    _replace(block, rest, lexer)
    caption = nodes.caption(name, "", nodes.literal(name, name))
    container = nodes.container("", literal_block=True, classes=["literal-block-wrapper"])
    block.replace_self(container)
    container += [caption, block]


def _replace(block: nodes.literal_block, text: str, language: str) -> None:
    block.rawsource = text
    block["language"] = language
    block.children = []
    block += nodes.Text(text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform."""
    app.add_transform(Cells)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
