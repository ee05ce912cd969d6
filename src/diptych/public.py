"""The package's public names: those that ``__init__.pyi`` imports, and nowhere else listed.

Type checkers read that file; at run time a name is imported when it is first asked for, so that
the command line starts at once.
"""

import ast
from pathlib import Path


def homes() -> dict[str, str]:
    """For each public name, the module that has it."""
    text = Path(__file__).with_name("__init__.pyi").read_text(encoding="utf-8")
    return {
        name.name: node.module
        for node in ast.parse(text).body
        if isinstance(node, ast.ImportFrom) and node.module
        for name in node.names
    }
