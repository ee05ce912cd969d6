"""The planted cases are modules beside the tests; frameworks are imported as a worker does."""

import os
import sys
from pathlib import Path

from diptych.worker import ENVIRONMENT

os.environ.update(ENVIRONMENT)
sys.path.insert(0, str(Path(__file__).parent))
