"""The code that builds a workflow's model, cut from the workflow's own file."""

import ast
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from diptych import workflows

Definition = ast.FunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Part:
    """Some lines of a file, one function or more."""

    file: str
    first_line: int
    text: str


def model_code(workflow: str) -> list[Part]:
    """The functions that make layers of a network's description, and those that they call.

    A function makes layers if it has a ``case Conv()``. What it calls in the same file belongs to
    it, and what that calls, and so on. A file without such a function is given whole.

    Args:
        workflow: one of `diptych.workflows.NAMES`.

    Raises:
        InputError: no workflow has that name.
    """
    name = workflows.check_name(workflow)
    spec = importlib.util.find_spec(f"diptych.workflows.{workflows.module(name)}")
    assert spec
    assert spec.origin
    path = Path(spec.origin)
    source = path.read_text(encoding="utf-8")
    lines, tree = source.splitlines(), ast.parse(source)
    functions = _functions(tree)
    wanted = {name for name, node in functions.items() if _makes_layers(node)}
    frontier = set(wanted)
    while frontier:
        called = {called for name in frontier for called in _called(name, functions)}
        frontier = called - wanted
        wanted |= frontier
    # A class that is wanted whole brings its methods along.
    spans = sorted({_span(functions[name]) for name in wanted}) or [(1, len(lines))]
    parts: list[Part] = []
    end = 0
    for first, last in spans:
        if first <= end:
            continue
        text = "\n".join(lines[first - 1 : last])
        parts.append(Part(path.name, first, text))
        end = last
    return parts


def _functions(tree: ast.Module) -> dict[str, Definition]:
    """The file's functions, classes and, as ``Class.method``, methods."""
    found: dict[str, Definition] = {}
    for node in tree.body:
        if isinstance(node, Definition):
            found[node.name] = node
        if isinstance(node, ast.ClassDef):
            methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
            found |= {f"{node.name}.{method.name}": method for method in methods}
    return found


def _makes_layers(node: Definition) -> bool:
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(part, ast.MatchClass)
        and isinstance(part.cls, ast.Name)
        and part.cls.id == "Conv"
        for part in ast.walk(node)
    )


def _called(name: str, functions: dict[str, Definition]) -> set[str]:
    """What a function mentions of the same file: functions by name, methods of its own class."""
    owner = name.partition(".")[0] if "." in name else None
    found = set()
    for part in ast.walk(functions[name]):
        if isinstance(part, ast.Name):
            found.add(part.id)
        elif (
            owner
            and isinstance(part, ast.Attribute)
            and isinstance(part.value, ast.Name)
            and part.value.id == "self"
        ):
            found.add(f"{owner}.{part.attr}")
    return {each for each in found if each in functions and each != owner}


def _span(node: Definition) -> tuple[int, int]:
    """Its first and last line, decorators included, counted from 1."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return first, node.end_lineno or node.lineno
