"""Two hashes of the sources of kernels: of their bytes for compiled code, of their syntax for results.

Compiled code is loaded only if the bytes of its sources are the same. A store records the hash of the syntax,
because a comment, a docstring or the layout of a line changes no number. Every module of kernels counts,
because a list of those that can change a number would have to be kept up to date by hand.
"""

import ast
import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent
HASH_LENGTH = 16


@cache
def bytes_hash() -> str:
    """Return the hash of all sources, which changes with every byte of them."""
    return _hash_of_files(Path.read_bytes)


@cache
def syntax_hash() -> str:
    """Return the hash of all sources without comments, docstrings and layout.

    It is the same in every version of Python. It takes about 0.15 s, so `compiler.cache` keeps it on disk.
    """
    return _hash_of_files(lambda path: syntax(ast.parse(path.read_bytes())).encode())


def _hash_of_files(content: Callable[[Path], bytes]) -> str:
    digest = hashlib.sha256()
    for path in sorted(ROOT.rglob("*.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + content(path) + b"\0")
    return digest.hexdigest()[:HASH_LENGTH]


def syntax(tree: ast.AST) -> str:
    """Return a syntax tree as text, without positions and strings that are statements.

    `ast.dump` prints other fields in each version of Python: 3.12 added `type_params`, 3.13 leaves out empty
    fields. Here no version writes an empty field.
    """
    text: list[str] = []
    _write(tree, text.append)
    return "".join(text)


def _write(value: object, write: Callable[[str], None]) -> None:
    if isinstance(value, ast.AST):
        write(f"{type(value).__name__}(")
        for name in value._fields:
            field = getattr(value, name, None)
            if field is not None and field != []:
                write(f"{name}=")
                _write(field, write)
        write(")")
    elif isinstance(value, list):
        write("[")
        for item in value:
            if not _stands_alone(item):
                _write(item, write)
        write("]")
    else:
        write(f"{value!a},")  # `repr` would follow Python's edition of Unicode


def _stands_alone(item: object) -> bool:
    """Return whether a statement is a string: a docstring, or a note below an assignment."""
    return (
        isinstance(item, ast.Expr)
        and isinstance(item.value, ast.Constant)
        and isinstance(item.value.value, str)
    )
