"""The documentation: it builds without warnings, which executes its code, and its pages work in a browser."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

import fastlin as fl
from tests import browser

DOCS = Path(__file__).parents[2] / "fastlin" / "docs"
MINUTES = 20
pytestmark = [
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.skipif(
        not DOCS.exists(), reason="the documentation is not beside an installed wheel's tests"
    ),
    pytest.mark.skipif(find_spec("myst_nb") is None, reason="Sphinx is in fastlin's extra docs"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the documentation by its one command."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-j", "2", str(DOCS), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 * MINUTES)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    """Return the parsed pages by their paths in the site."""
    from bs4 import BeautifulSoup

    found = site.rglob("*.html")
    return {
        path: BeautifulSoup(path.read_text(), "html.parser") for path in found if "_static" not in path.parts
    }


@pytest.fixture
def page(driver):
    return browser.Page(driver)


def links(soup):
    """Return all addresses that a page refers to or loads."""
    return [tag[name] for name in ("href", "src") for tag in soup.find_all(attrs={name: True})]


def test_every_link_inside_resolves(pages):
    anchors = {path: {tag["id"] for tag in soup.find_all(id=True)} for path, soup in pages.items()}
    broken = []
    for path, soup in pages.items():
        for link in links(soup):
            target, anchor = urldefrag(unquote(link))
            target = target.partition("?")[0]  # The theme adds versions to its files.
            if re.match(r"[a-z]+:", target):
                continue
            there = (path.parent / target).resolve() if target else path
            if not there.exists() or (anchor and there in anchors and anchor not in anchors[there]):
                broken.append((path.name, link))
    assert not broken


def test_nothing_is_loaded_from_outside(pages):
    loaded = [
        (path.name, tag.get("src") or tag.get("href"))
        for path, soup in pages.items()
        for tag in soup.find_all(["script", "img", "link", "iframe"])
    ]
    assert not [entry for entry in loaded if re.match(r"(https?:)?//", entry[1] or "")]


def test_every_public_name_has_a_page(site):
    import sphinx.util.inventory

    inventory = sphinx.util.inventory.InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    documented = {name for kind in inventory.data.values() for name in kind}
    names = [f"fastlin.{name}" for name in fl.__all__] + [f"fastlin.plot.{name}" for name in fl.plot.__all__]
    assert not set(names) - documented


def test_pages_have_no_traces_of_a_machine(pages):
    traces = re.compile(rf"/tmp/\w|{re.escape(str(DOCS.parents[1]))}|{re.escape(os.path.expanduser('~'))}/")
    assert not [(path.name, found[0]) for path, soup in pages.items() if (found := traces.search(soup.text))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 800, 1400])
def test_a_page_fits_the_window(site, page, width, scheme):
    """Wide tables and code scroll inside the page. The page itself does not."""
    browser.resize(page.driver, width)
    browser.prefer(page.driver, scheme)
    for name in (
        "index",
        "quick-start",
        "concepts/balance",
        "how-to/cluster",
        "reference/spec",
        "mathematics/corrections",
    ):
        page.open((site / f"{name}.html").as_uri())
        wide = page.driver.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width, name
        assert not [fault for fault in page.faults() if "[PST]" not in fault]  # The theme logs the scheme.
        assert all(address.startswith(("file:", "data:", "blob:")) for address in page.requests())
        assert (page.luminance("h1") < 0.2) == (scheme == "dark")
        assert page.contrast("article p") > 4.5
        hidden = {"light": "dark", "dark": "light"}[scheme]
        assert not [
            picture
            for picture in page.driver.find_elements("css selector", f".only-{hidden}")
            if picture.is_displayed()
        ]


def test_equations_are_set_without_a_network(site, page):
    page.open((site / "mathematics" / "corrections.html").as_uri())
    page.wait(lambda: page.count("mjx-container") > 5)
