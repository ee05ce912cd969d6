"""The command that serves."""

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli.app import app
from diptych.cli.options import Runs
from diptych.printing import say


@app.command(short_help="Serve a page to draw digits on, and an API.")
def serve(
    trained: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN] [RUN]",
            help="One or two finished runs; where none is given, two that come with diptych.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port; 0 for any that is free.")
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(metavar="SECRET", envvar="DIPTYCH_TOKEN", help="What clients must know."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let others in without a token.")
    ] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    runs: Runs = Path("runs"),
) -> None:
    """Serve a page where you draw digits and look inside, and an API that reads them."""
    import webbrowser

    from diptych.runs import Run
    from diptych.serving import serve as serve_runs

    def ready(address: str) -> None:
        say(f"Page: {address}/   API: {address}/docs   (Ctrl-C stops)")
        if open_page:
            webbrowser.open(address)

    serve_runs(
        [Run.open(run, runs) for run in trained or []],
        host=host,
        port=port,
        token=token,
        insecure=insecure,
        ready=ready,
    )
