"""Each line of exhaustive.txt names a test that there is."""

import re
from pathlib import Path

TESTS = Path(__file__).parent


def test_each_line_names_a_test_of_a_file() -> None:
    lines = (TESTS / "exhaustive.txt").read_text().splitlines()
    names = [line for line in lines if line and not line.startswith("#")]
    assert names and len(names) == len(set(names))
    for name in names:
        file, _, test = name.partition("::")
        text = (TESTS / file).read_text()
        function = re.match(r"\w+", test)
        assert function is None or f"def {function[0]}(" in text, name
