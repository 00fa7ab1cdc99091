"""The pages that a build of the documentation writes from the code."""

import importlib
import re
from pathlib import Path

import pytest

import fastlin as fl
from fastlin import cli
from fastlin.observables.registry import REGISTRY
from fastlin.observables.stages import OF_SEQUENCE
from fastlin.sweeps import presets
from fastlin.sweeps.spec.reference import reference
from fastlin.sweeps.spec.table import ENTRIES

DOCS = Path(fl.__file__).parent / "docs"

pytestmark = pytest.mark.skipif(
    not DOCS.exists(), reason="the documentation is not beside an installed wheel's tests"
)


@pytest.fixture(scope="module")
def generated():
    pytest.importorskip("sphinx", reason="Sphinx comes with fastlin's extra test")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS / "extensions")
        yield importlib.import_module("generated")


@pytest.fixture
def texts(generated):
    return generated.texts()


def test_every_public_name_has_a_page_and_a_row(texts):
    names = [f"fl.{name}" for name in fl.__all__] + [f"fl.plot.{name}" for name in fl.plot.__all__]
    names.append("ds.fastlin")
    pages = [name for name in texts if name.startswith("reference/names/")]
    assert len(pages) == len({name.casefold() for name in pages}) == len(names)
    overview = texts["reference/generated/names.inc"]
    for name in names:
        ((page, sentence),) = re.findall(rf"^\| \[`{name}`\]\((.*)\) +\| (.*?) +\|$", overview, re.MULTILINE)
        assert len(sentence) > 10, name
        assert texts[f"reference/{page}"].startswith(f"# {name}\n")
    assert "## Others" not in overview


def test_names_are_below_titles_of_use(texts):
    titles = {}
    for line in texts["reference/generated/names.inc"].splitlines():
        if line.startswith("## "):
            title = line.removeprefix("## ")
        elif line.startswith("| ["):
            titles[line.split("`")[1]] = title
    assert titles["fl.Task"] == titles["fl.Tasks"] == titles["fl.hierarchy"] == "Tasks"
    assert titles["fl.Network"] == titles["fl.lora"] == "Networks"
    assert titles["fl.exact"] == titles["fl.OBSERVABLES"] == "Solvers and observables"
    assert titles["ds.fastlin"] == titles["fl.open_sweep"] == "Reading stores"
    assert titles["fl.plot.pages"] == titles["fl.plot"] == "Pictures"


def test_every_command_has_its_options(texts, command_line):
    """They are those that its help shows."""
    sections = texts["reference/generated/commands.inc"].split("\n## fastlin ")[1:]
    assert [section.split("\n")[0] for section in sections] == [verb.__name__ for verb in cli.VERBS]
    for section in sections:
        name = section.split("\n")[0]
        rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `-")]
        listed = {word.strip("`, ") for row in rows for word in row.split() if word.startswith(("`-", "--"))}
        code, out, _ = command_line(name, "-h")
        shown = re.findall(r"^[│|][ *]+(--[\w-]+)(?: +(--?[a-z][\w-]*))?", out, re.MULTILINE)
        assert code == 0
        assert listed == {word for pair in shown for word in pair if word} - {"-h", "--help"}, name


def test_tables_have_all_that_the_code_knows(texts):
    def rows(name):
        return texts[f"reference/generated/{name}.inc"].count("\n| `")

    assert rows("observables") == len(REGISTRY)
    assert rows("observables-of-stages") == len(OF_SEQUENCE)
    assert rows("presets") == len(presets.names())
    assert texts["reference/generated/spec.inc"] == reference()
    for entry in ENTRIES:
        assert re.search(rf"^\| `{entry.key}` +\|", reference(), re.MULTILINE), entry.key


def test_a_file_is_written_if_its_content_changed(generated, tmp_path):
    for folder in ("reference", "tutorials"):
        (tmp_path / folder).mkdir()
    generated.write(tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert len(files) == len(generated.texts())
    changed = tmp_path / "reference" / "generated" / "spec.inc"
    text = changed.read_text()
    changed.write_text("other")
    former = tmp_path / "reference" / "names" / "former.md"
    former.touch()
    generated.write(tmp_path)
    assert changed.read_text() == text
    assert not former.exists()
    assert all(path.stat().st_mtime_ns == time for path, time in files.items() if path != changed)


def test_git_ignores_what_is_generated(generated):
    lines = (DOCS.parents[1] / ".gitignore").read_text().splitlines()
    for name in generated.texts():
        path = Path("/fastlin/docs", name)
        assert {f"{path.parent}/", f"{path.parent}/*{path.suffix}"} & set(lines), name


def test_tutorials_are_the_notebooks(texts):
    index = (DOCS / "tutorials" / "index.md").read_text()
    for path in (DOCS.parents[1] / "sweeps" / "notebooks").glob("*.ipynb"):
        assert f"tutorials/{path.name}" in texts
        assert f"]({path.name})" in index
