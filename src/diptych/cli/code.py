"""The command that writes scripts."""

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli.answers import answer
from diptych.cli.app import app
from diptych.cli.options import Json, RecipeName
from diptych.errors import InputError
from diptych.printing import say


@app.command()
def code(
    side: Annotated[
        str,
        typer.Argument(
            metavar="WORKFLOW:NETWORK",
            help="For example tensorflow:article. Workflows: tensorflow, tensorflow+layers, keras, "
            "torch, jax, flax, numpy. The network is a name in the zoo or a TOML file.",
        ),
    ],
    recipe: RecipeName = None,
    data: Annotated[
        str,
        typer.Option("--data", help="The script's data: mnist, or a folder of IDX files."),
    ] = "mnist",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The file. Default: standard output."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json_file: Json = None,
) -> None:
    """Write a network and its training as one script without Diptych."""
    from diptych.scripts.script import write

    workflow, colon, network = side.partition(":")
    if not colon or not network:
        raise InputError(f"{side}: expected WORKFLOW:NETWORK, such as tensorflow:article")
    script = write(workflow, network, recipe, data)
    if out is None and json_file is None:
        say(script.removesuffix("\n"))  # Lines must not be wrapped to the terminal's width.
        return
    if out:
        _save(script, out, force)
    values = {"schema": 1, "workflow": workflow, "network": network, "script": script}
    answer(values, f"Wrote {out or json_file} ({len(script.splitlines())} lines)", json_file)


def _save(script: str, out: Path, force: bool) -> None:
    if out.exists() and not force:
        raise InputError(f"--out {out}: the file exists already (--force replaces it)")
    try:
        out.write_text(script, encoding="utf-8")
    except OSError as problem:
        raise InputError(f"--out {out}: {problem.strerror or problem}") from None
