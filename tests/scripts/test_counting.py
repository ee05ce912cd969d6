"""The lines of code of a script, counted by another program and by hand."""

import pytest
from pygments import lex
from pygments.lexers import PythonLexer
from pygments.token import Comment, String, Whitespace

from diptych.scripts.counting import lines_of_code
from diptych.scripts.script import FORMS, write


def counted_by_pygments(source: str) -> int:
    """By a program that knows documentation strings by itself."""
    lines, line = set(), 1
    for kind, text in lex(source, PythonLexer(stripnl=False)):
        if text.strip() and kind not in Comment and kind not in String.Doc:
            first = line + len(text[: len(text) - len(text.lstrip())].split("\n")) - 1
            lines.update(range(first, first + text.strip().count("\n") + 1))
        line += text.count("\n")
        assert kind not in Whitespace or not text.strip()
    return len(lines)


@pytest.mark.parametrize("form", FORMS)
def test_another_counter_agrees(form: str) -> None:
    script = write(form, "article", "fast")
    assert lines_of_code(script) == counted_by_pygments(script)


SOURCE = '''"""Documentation

of three lines."""

# A comment.
import os  # 1


class Here:  # 2
    """Documentation."""

    word = """not
    documentation"""  # 3 and 4

    def run(
        self,
    ) -> str:  # 5, 6, 7
        """Documentation."""
        # A comment.

        return os.path.join(  # 8

            "#"  # 9: the line above is blank
        )  # 10
'''


def test_lines_counted_by_hand() -> None:
    assert lines_of_code(SOURCE) == 10


def test_keras_needs_the_fewest_lines_and_numpy_the_most() -> None:
    """As the article says of Keras; the rest is in between."""
    lines = {form: lines_of_code(write(form, "article")) for form in FORMS}
    assert min(lines, key=lambda form: lines[form]) == "keras"
    assert max(lines, key=lambda form: lines[form]) == "numpy"
