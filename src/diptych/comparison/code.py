"""The plain script of a run: what the lines of code are counted in."""

from diptych.runs import Run
from diptych.scripts.files import MNIST, files_like
from diptych.scripts.script import write


def script_of(run: Run) -> str:
    """The plain script of a run's workflow, network and recipe.

    Where its data are not MNIST, the script reads IDX files in a folder ``data``.
    """
    mnist = run.description()["data"]["source"] == "mnist"
    files = MNIST if mnist else files_like(run.network)
    return write(run.workflow, run.network, run.recipe, files)
