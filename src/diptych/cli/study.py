"""The commands of studies: many runs to answer one question."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli.answers import answer
from diptych.cli.app import app
from diptych.cli.options import Json, Runs
from diptych.errors import InputError

if TYPE_CHECKING:
    from diptych.study.description import Study
    from diptych.study.study import Outcome

studies = typer.Typer(no_args_is_help=True, help="Many runs to answer one question.")
app.add_typer(studies, name="study")
Name = Annotated[
    str, typer.Argument(metavar="STUDY", help="A name, a TOML file, or claims for the article's.")
]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer seeds and shorter trainings.")]


@studies.command("list")
def list_studies(json_file: Json = None) -> None:
    """List the studies that Diptych comes with."""
    from diptych import zoo
    from diptych.render.study import study_table
    from diptych.study.description import Study

    found = [Study.load(name) for name in zoo.names("studies")]
    plain = [{"name": study.name, "question": study.question} for study in found]
    answer({"schema": 1, "studies": plain}, study_table(found), json_file)


@studies.command("run")
def run(
    name: Name,
    quick: Quick = False,
    seeds: Annotated[int | None, typer.Option(min=1, max=1000, help="Runs per arm.")] = None,
    at_once: Annotated[int, typer.Option(min=1, help="Runs at once on this machine.")] = 1,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A Ray cluster: its address, auto, or local."),
    ] = None,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Run a study, or what is left of it, and decide it."""
    from diptych.render.study_progress import StudyProgress
    from diptych.study.executors import Local, Ray
    from diptych.study.study import run_study

    if ray is not None and at_once != 1:
        raise InputError("--at-once and --ray: give one of them, a cluster decides by itself")
    executor = Local(at_once) if ray is None else Ray(ray)
    outcomes = []
    for study in _chosen(name):
        with StudyProgress(study.name) as progress:
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


@studies.command("show")
def show(
    name: Name, quick: Quick = False, runs: Runs = Path("runs"), json_file: Json = None
) -> None:
    """Show the outcome of a study that has been run."""
    from diptych.study.study import shown

    _answer([shown(study.name, runs, quick) for study in _chosen(name)], json_file)


def _answer(outcomes: "list[Outcome]", json_file: Path | None) -> None:
    from rich.console import Group

    from diptych.render.study import outcome

    plain = {"schema": 1, "studies": [one.to_dict() for one in outcomes]}
    answer(plain, Group(*(part for one in outcomes for part in (outcome(one), ""))), json_file)


def _chosen(name: str) -> "list[Study]":
    """The study of that name, or all that put a sentence of the article to the test."""
    from diptych import zoo
    from diptych.study.description import Study

    if name != "claims":
        return [Study.load(name)]
    return [study for study in map(Study.load, zoo.names("studies")) if study.claim]
