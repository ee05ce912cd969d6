"""How long a workflow's code is."""

import ast
import importlib.util
import io
import tokenize
from pathlib import Path

from diptych import workflows


def lines_of_code(workflow: str) -> int:
    """The lines of that workflow's file that hold code: no blank lines, comments or docstrings."""
    spec = importlib.util.find_spec(f"diptych.workflows.{workflows.module(workflow)}")
    assert spec and spec.origin
    source = Path(spec.origin).read_text(encoding="utf-8")
    skipped = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        # A string that stands alone is documentation.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)
