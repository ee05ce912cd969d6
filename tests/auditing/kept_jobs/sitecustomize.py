"""Has a worker find the jobs of this folder: below the package."""

from pathlib import Path

import diptych

diptych.__path__.append(str(Path(__file__).parent))
