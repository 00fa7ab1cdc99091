"""Sphinx builds the documentation: `sphinx-build -W -j 2 fastlin/docs site`, without a network."""

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

from numpydoc.xref import DEFAULT_LINKS

import fastlin

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

project = "fastlin"
author = "the fastlin developers"
copyright = author
version = release = version_of("fastlin")

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # MathJax lies in the site, so that a reader needs no network
    "sphinx_copybutton",
    "sphinx_design",
    "generated",
    "cells",
]
exclude_patterns = ["extensions", "ipython"]
root_doc = "index"
language = "en"
smartquotes = False  # a quoted value is copied as it is

# Pages with code cells are executed, each in an empty folder. The rendered notebooks have outputs already.
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath", "substitution"]
myst_heading_anchors = 3
nb_execution_mode = "auto"
nb_execution_excludepatterns = ["tutorials/*"]
nb_execution_in_temp = True
nb_execution_show_tb = True  # A failure is a warning, which -W turns into an error of the build.
nb_execution_timeout = 300  # of a cell: the first run compiles kernels
nb_merge_streams = True
nb_output_stderr = "warn"
os.environ["IPYTHONDIR"] = str(HERE / "ipython")  # its start-up file shows pictures in light and dark
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

# Docstrings: names and types of this package are links. A build has no network, so those of others are text.
default_role = "obj"
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_aliases = {word: word for word in DEFAULT_LINKS}
numpydoc_xref_aliases |= {name: f"fastlin.{name}" for name in fastlin.__all__ if name[0].isupper()}
numpydoc_xref_ignore = "all"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"

copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "pydata_sphinx_theme"
html_title = f"fastlin {version}"
html_static_path = ["static"]
html_css_files = ["fastlin.css"]
html_context = {"default_mode": "auto"}
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "github_url": "",
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 7,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": [], "quick-start": []}


def setup(app):
    """Allow pages to be read in parallel."""
    # The extension only adds a folder of static files, but does not say that this is safe.
    app.extensions["sphinx-mathjax-offline"].parallel_read_safe = True
