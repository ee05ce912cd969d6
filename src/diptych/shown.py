"""How objects look at a prompt and in a notebook.

Their classes hold no rendering. They name the function of `diptych.render` that has it, as
``module:function``, and it is imported when an object is shown.
"""

import importlib
from typing import Any


def as_text(view: str) -> Any:
    """A ``__repr__`` that gives a view as plain text; no type says that of a function."""

    def text(shown: Any) -> str:
        return _in("plain", view, shown)

    return text


def as_html(view: str) -> Any:
    """A ``_repr_html_`` that gives a view as HTML."""

    def html(shown: Any) -> str:
        return _in("html", view, shown)

    return html


def _in(form: str, view: str, shown: Any) -> str:
    module, function = view.split(":")
    render = importlib.import_module(f"diptych.render.{module}")
    terminal = importlib.import_module("diptych.render.terminal")
    return getattr(terminal, form)(getattr(render, function)(shown))
