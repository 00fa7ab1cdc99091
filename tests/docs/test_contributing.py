"""The files for contributors: they name existing files, and workflows test the versions that we promise."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
GUIDE = CHECKOUT / ".github" / "CONTRIBUTING.md"

pytestmark = pytest.mark.skipif(not GUIDE.exists(), reason="a checkout is needed")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]


def test_the_guide_names_files_that_exist():
    words = re.findall(r"`([^`\s]+)`", GUIDE.read_text())
    paths = [word for word in words if "/" in word and not word.startswith(("dist/", "--"))]
    assert len(paths) > 15
    assert [path for path in paths if not (CHECKOUT / path).exists()] == []


def test_the_citation_is_of_this_version(project):
    citation = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert (citation["title"], citation["version"]) == (project["name"], project["version"])
    assert citation["license"] == project["license"]
    assert [author["name"] for author in citation["authors"]] == [
        author["name"] for author in project["authors"]
    ]
    (paper,) = citation["references"]
    assert paper["title"] in " ".join((CHECKOUT / "README.md").read_text().split())


def test_workflows_test_all_promised_versions(project):
    workflow = yaml.safe_load((CHECKOUT / ".github" / "workflows" / "tests.yml").read_text())
    jobs = workflow["jobs"]
    promised = [text.rpartition(" ")[2] for text in project["classifiers"] if "Python :: 3." in text]
    matrix = jobs["fast"]["strategy"]["matrix"]
    assert matrix["python"] == promised
    assert {system.partition("-")[0] for system in matrix["os"]} == {"ubuntu", "macos", "windows"}
    commands = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    assert commands["gate"] == [".ci/run"]
    for name in ("fast", "oldest", "newest"):
        assert commands[name][-1].startswith('python -m pytest -m "not processes" -n 2')


def test_the_lower_bound_of_every_dependency_is_tested(project):
    command = [sys.executable, CHECKOUT / ".ci" / "oldest.py"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    for requirement in project["dependencies"]:
        name, lowest = re.match(r"([\w-]+)>=([\d.]+)", requirement).groups()
        assert f"{name}=={lowest}" in lines


def test_commands_to_install_work_in_a_checkout():
    """The package index has no fastlin yet, so no command may install an extra of it by name."""
    texts = [
        path
        for folder in ("fastlin", "kernels", "sweeps", ".github")
        for ending in ("*.py", "*.md", "*.ipynb")
        for path in (CHECKOUT / folder).rglob(ending)
    ]
    assert len(texts) > 100
    for path in (CHECKOUT / "README.md", *texts):
        assert not re.search(r"fastlin\[\w+\]", path.read_text(encoding="utf-8")), path


def test_extras_that_messages_name_exist(project):
    named = {
        extra
        for folder in ("fastlin", "sweeps")
        for path in (CHECKOUT / folder).rglob("*.py")
        for extra in re.findall(r"fastlin's extra (\w+)", path.read_text(encoding="utf-8"))
    }
    assert named == {"bench", "explore", "hpc", "s3"}
    assert named <= set(project["optional-dependencies"])
