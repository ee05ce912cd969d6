"""The networks and their rounding are those of the workflows' tests."""

import os
import sys
from pathlib import Path

from diptych.worker import ENVIRONMENT

sys.path.insert(0, str(Path(__file__).parent.parent / "workflows"))
os.environ.update(ENVIRONMENT)  # Before a framework is imported, as in a worker.
