"""Execution of pages: commands must succeed, and pictures are shown in light and dark."""

import re
import shlex
import subprocess
from base64 import b64encode
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from IPython.display import HTML, display
from matplotlib.artist import Artist

from fastlin.plot import in_dark
from fastlin.plot.saving import save

DPI = 144  # Pixels of a picture per inch, so that it is sharp also on fine screens.
CSS_DPI = 96  # Pixels of a page per inch.


def shell(command):
    """Run a command of a page, print its output, and show the pictures that it wrote."""
    before = set(Path().glob("*.png"))
    done = subprocess.run(command, shell=True, text=True, executable="/bin/bash", capture_output=True)
    print(done.stdout.replace(f"{Path.cwd()}/", ""), end="")
    if done.returncode:
        raise RuntimeError(f"`{command}` ended with code {done.returncode}: {done.stderr}")
    if written := sorted({*Path().glob("*.png")} - before):
        for path, dark in zip_longest(written, _in_dark_theme(command)):
            display(HTML(_pair(path.read_bytes(), dark, path.stem)))


def _in_dark_theme(command):
    """Return the pictures that a command draws with --dark, if it has this option."""
    if not re.match("fastlin (plot|figure) ", command):
        return []
    with TemporaryDirectory() as folder:
        options = ["--dark", "--quiet", "--out", f"{folder}/dark.png"]
        subprocess.run([*shlex.split(command, comments=True), *options], check=True)
        return [path.read_bytes() for path in sorted(Path(folder).iterdir())]


def _pair(light, dark, text):
    """Return a picture for each theme. The style sheet of the site shows one of them."""
    if dark is None:
        return _element(light, text)
    return _element(light, text, "only-light") + _element(dark, text, "only-dark")


def write_file(name, text):
    """Write the file that a cell shows, without a word."""
    Path(name).write_text(text)


def _element(png, text, *classes):
    width = int.from_bytes(png[16:20]) * CSS_DPI // DPI  # Bytes 16 to 19 of a PNG are its width.
    source = f"data:image/png;base64,{b64encode(png).decode()}"
    return f'<img class="{" ".join(classes)}" width="{width}" src="{source}" alt="{text}">'


def _html(figure):
    light = _png(figure)
    with in_dark(figure):
        return _pair(light, _png(figure), "picture drawn by the code above")


def _png(figure):
    buffer = BytesIO()
    save(figure, buffer, format="png", dpi=DPI, bbox_inches="tight")
    return buffer.getvalue()


def show_figures():
    """Show the figures of a cell, and close them."""
    for number in plt.get_fignums():
        display(HTML(_html(plt.figure(number))))
    plt.close("all")


def _is_drawn(value):
    """Return whether `show_figures` shows this value, so that its text is of no use."""
    return isinstance(value, Artist) or (isinstance(value, np.ndarray) and isinstance(value.flat[0], Artist))


ip = get_ipython()
format_value = ip.display_formatter.format
ip.display_formatter.format = lambda value, *options, **more: (
    ({}, {}) if _is_drawn(value) else format_value(value, *options, **more)
)
ip.system = shell
ip.register_magic_function(write_file, "cell", "writefile")
ip.events.register("post_execute", show_figures)
plt.switch_backend("agg")
