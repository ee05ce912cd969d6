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
    str,
    typer.Argument(
        metavar="STUDY", help="A name, a TOML file, or claims for all studies of the article."
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="Use fewer seeds and shorter trainings.")]


@studies.command("list")
def list_studies(json_file: Json = None) -> None:
    """List the built-in studies and searches."""
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
        typer.Option(min=1, max=1000, help="Runs per arm; for a search, the runs at its end."),
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
            help="For a search: where to store the trials, such as sqlite:///search.db. Machines "
            "with the same storage share one search.",
        ),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Runs at once on this machine. Default: as many as cores and memory allow; one "
            "for a search, whose proposals depend on the finished trials.",
        ),
    ] = None,
    ray: RayAddress = None,
    storage_path: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="With --ray: where the machines keep the runs, a folder that all of them see or "
            "an address for fsspec (s3://…); --runs need not be shared then.",
        ),
    ] = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="With --ray: print the address of Ray's dashboard.")
    ] = False,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Run a study or a search, or the unfinished rest of it, and show the verdict."""
    from diptych.study.chosen import chosen
    from diptych.study.space import Search

    if ray is not None and at_once is not None:
        raise InputError("--at-once and --ray: give one of them; a cluster sets the number itself")
    for option, given in (("storage-path", storage_path is not None), ("dashboard", dashboard)):
        if given and ray is None:
            raise InputError(f"--{option}: it is for a cluster; give --ray ADDRESS as well")
    described = chosen(name)
    if isinstance(described, Search):
        if ray is not None:
            raise InputError(
                "--ray: a search does not run on a cluster; machines with the same --storage "
                "and --runs share one"
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
            raise InputError(f"--{option}: study {name} is not a search; a search has a [space]")
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
