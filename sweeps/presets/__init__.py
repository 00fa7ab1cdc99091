"""Specs that ship with the package, one TOML file each."""

from importlib.resources import files


def names() -> list[str]:
    """Return the names of the presets, sorted."""
    filenames = (entry.name for entry in files(__name__).iterdir())
    return sorted(name.removesuffix(".toml") for name in filenames if name.endswith(".toml"))


def text(name: str) -> str:
    """Return the TOML of one preset."""
    return files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")


def summary(name: str) -> str:
    """Return the first comment line of a preset, which describes it."""
    return text(name).splitlines()[0].lstrip("# ")
