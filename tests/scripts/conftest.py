"""The networks that the tests of workflows go through are those of scripts too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "workflows"))
