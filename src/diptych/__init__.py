"""One convolutional network, built in several workflows, trained and compared side by side.

>>> from diptych import compare
>>> compare()  # doctest: +SKIP
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diptych.auditing import Audit, audit
    from diptych.auditing.recording import record
    from diptych.comparison import Comparison, compare, compare_runs
    from diptych.data import Data, load_data
    from diptych.errors import InputError
    from diptych.evaluation import Evaluation, evaluate, predict
    from diptych.formats.exporting import Export, NotTheSame, export
    from diptych.formats.importing import import_file
    from diptych.network import Network
    from diptych.recipe import Recipe
    from diptych.runs import Run
    from diptych.serving import serve
    from diptych.training import TrainingFailed, resume, train

    __version__: str

__all__ = [
    "Audit",
    "Comparison",
    "Data",
    "Evaluation",
    "Export",
    "InputError",
    "Network",
    "NotTheSame",
    "Recipe",
    "Run",
    "TrainingFailed",
    "audit",
    "compare",
    "compare_runs",
    "evaluate",
    "export",
    "import_file",
    "load_data",
    "predict",
    "record",
    "resume",
    "serve",
    "train",
]

_HOMES = {
    "Audit": "auditing",
    "Comparison": "comparison",
    "Data": "data",
    "Evaluation": "evaluation",
    "Export": "formats.exporting",
    "InputError": "errors",
    "Network": "network",
    "NotTheSame": "formats.exporting",
    "Recipe": "recipe",
    "Run": "runs",
    "TrainingFailed": "training",
    "audit": "auditing",
    "compare": "comparison",
    "compare_runs": "comparison",
    "evaluate": "evaluation",
    "export": "formats.exporting",
    "import_file": "formats.importing",
    "load_data": "data",
    "predict": "evaluation",
    "record": "auditing.recording",
    "resume": "training",
    "serve": "serving",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first asked for, so that the command line starts at once."""
    if name == "__version__":
        from importlib.metadata import version

        value = version("diptych")
    elif name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
