"""``python -m diptych.cli`` is ``diptych``."""

from diptych.cli import main

main()
