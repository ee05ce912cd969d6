"""The commands of studies: many runs to answer one question."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli.answers import answer
from diptych.cli.app import app
from diptych.cli.options import Json, RayAddress, Runs
from diptych.errors import InputError
from diptych.printing import say

if TYPE_CHECKING:
    from diptych.study.description import Study
    from diptych.study.executors import Executor
    from diptych.study.search import SearchOutcome
    from diptych.study.space import Search
    from diptych.study.study import Outcome

studies = typer.Typer(no_args_is_help=True, help="Many runs to answer one question.")
app.add_typer(studies, name="study")
Name = Annotated[
    str, typer.Argument(metavar="STUDY", help="A name, a TOML file, or claims for the article's.")
]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer seeds and shorter trainings.")]


@studies.command("list")
def list_studies(json_file: Json = None) -> None:
    """List the studies and searches that Diptych comes with."""
    from diptych.render.study import study_table
    from diptych.study.chosen import everything

    known = everything()
    plain = [{"name": study.name, "question": study.question} for study in known]
    answer({"schema": 1, "studies": plain}, study_table(known), json_file)


@studies.command("run")
def run(
    name: Name,
    quick: Quick = False,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Runs per arm; in a search, the runs at its end."),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="For a search: the number of trials.")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="For a search: tpe (the default), random or qmc.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Of a search: where its trials are kept, such as sqlite:///search.db; machines "
            "that share it work on one search.",
        ),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Runs at once on this machine. By default as many as cores and memory allow; of a "
            "search one, since what it proposes depends on which trials have ended.",
        ),
    ] = None,
    ray: RayAddress = None,
    storage_path: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="With --ray: a folder that all machines see, or what fsspec opens (s3://…), where "
            "they keep the runs; --runs then need not be shared.",
        ),
    ] = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="With --ray: say where Ray's own dashboard is.")
    ] = False,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Run a study or a search, or what is left of it, and decide it."""
    from diptych.study.chosen import chosen
    from diptych.study.space import Search

    if ray is not None and at_once is not None:
        raise InputError("--at-once and --ray: give one of them, a cluster decides by itself")
    for option, given in (("storage-path", storage_path is not None), ("dashboard", dashboard)):
        if given and ray is None:
            raise InputError(f"--{option}: it belongs to a cluster: give --ray ADDRESS too")
    described = chosen(name)
    if isinstance(described, Search):
        if ray is not None:
            raise InputError(
                "--ray: a search does not run on a cluster; machines that are given the same "
                "--storage and see the same --runs share one"
            )
        options = {"trials": trials, "sampler": sampler, "storage": storage}
        options = {key: value for key, value in options.items() if value is not None}
        _search(
            described,
            json_file,
            runs=runs,
            quick=quick,
            seeds=seeds,
            at_once=at_once or 1,
            **options,
        )
        return
    for option, value in (("trials", trials), ("sampler", sampler), ("storage", storage)):
        if value is not None:
            raise InputError(f"--{option}: study {name} is no search; a search has a [space]")
    executor = _executor(at_once, ray, storage_path, dashboard)
    _studies(described, quick, seeds, executor, runs, json_file)


def _executor(
    at_once: int | None, ray: str | None, storage_path: str | None, dashboard: bool
) -> "Executor":
    from diptych.study.cluster import Ray
    from diptych.study.executors import Local

    if ray is None:
        return Local(at_once)
    shown = (lambda address: say(f"Dashboard: {address}", error=True)) if dashboard else None
    return Ray(ray, storage_path, shown)


def _studies(
    described: "list[Study]",
    quick: bool,
    seeds: int | None,
    executor: "Executor",
    runs: Path,
    json_file: Path | None,
) -> None:
    from diptych.render.study_progress import StudyProgress
    from diptych.study.study import run_study

    outcomes = []
    for study in described:
        with StudyProgress(f"study {study.name}") as progress:
            outcomes.append(
                run_study(
                    study,
                    runs=runs,
                    quick=quick,
                    seeds=seeds,
                    executor=executor,
                    progress=progress,
                )
            )
    _answer(outcomes, json_file)


def _search(search: "Search", json_file: Path | None, **options: Any) -> None:
    from diptych.render.study_progress import StudyProgress
    from diptych.study.search import run_search

    with StudyProgress(f"search {search.name}") as progress:
        outcome = run_search(
            search,
            progress=lambda what, ended, total: progress(ended, total, what),
            **options,
        )
    _answer_search(outcome, json_file)


@studies.command("show")
def show(
    name: Name, quick: Quick = False, runs: Runs = Path("runs"), json_file: Json = None
) -> None:
    """Show the outcome of a study or a search that has been run."""
    from diptych.study.chosen import chosen
    from diptych.study.search import shown_search
    from diptych.study.space import Search
    from diptych.study.study import shown

    described = chosen(name)
    if isinstance(described, Search):
        _answer_search(shown_search(described.name, runs, quick), json_file)
    else:
        _answer([shown(study.name, runs, quick) for study in described], json_file)


def _answer(outcomes: "list[Outcome]", json_file: Path | None) -> None:
    from rich.console import Group
    from rich.text import Text

    from diptych.render.study import outcome
    from diptych.render.study_page import write_page

    plain = {"schema": 1, "studies": [one.to_dict() for one in outcomes]}
    parts = []
    for one in outcomes:
        page = write_page(one.folder, one.study.name, outcome(one))
        parts += [outcome(one), Text(f"Report: {page}", style="dim"), ""]
    answer(plain, Group(*parts), json_file)


def _answer_search(result: "SearchOutcome", json_file: Path | None) -> None:
    from rich.console import Group
    from rich.text import Text

    from diptych.render.search import outcome
    from diptych.render.study_page import write_page
    from diptych.study.search import PICTURE

    shown = outcome(result)
    page = write_page(result.folder, result.name, shown, [Path(result.folder) / PICTURE])
    dashboard = f"Trials: {result.storage} (optuna-dashboard opens it)"
    lines = (Text(line, style="dim") for line in (dashboard, f"Report: {page}"))
    answer(result.to_dict(), Group(shown, *lines), json_file)
