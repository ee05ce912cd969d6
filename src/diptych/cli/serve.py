"""The command that serves."""

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli.app import app
from diptych.cli.options import Runs, run_names
from diptych.printing import say


@app.command(short_help="Serve a page to draw digits on, and an API.")
def serve(
    trained: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN] [RUN]",
            autocompletion=run_names,
            help="One or two finished runs. Default: your two newest ones, else two built-in "
            "networks.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port; 0 for any free port.")
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="SECRET", envvar="DIPTYCH_TOKEN", help="The token that clients must send."
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow access from other machines without a token.")
    ] = False,
    built_in: Annotated[
        bool, typer.Option("--built-in", help="Serve the two built-in networks.")
    ] = False,
    export_to: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FOLDER",
            help="Write the page as static files instead of serving it; the networks run in the "
            "browser.",
        ),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    runs: Runs = Path("runs"),
) -> None:
    """Serve a page to draw digits on and look inside networks, and an API to classify pictures."""
    import webbrowser

    from diptych.serving.publish import export
    from diptych.serving.publish import serve as serve_runs

    if export_to is not None:
        names = export(export_to, trained or [], root=runs, built_in=built_in)
        say(*(f"Network: {name}" for name in names))
        say(f"Page: {export_to}/index.html; to try it: python -m http.server -d {export_to}")
        return

    def ready(address: str, names: list[str]) -> None:
        say(f"Page: {address}/   API: {address}/docs   (Ctrl-C stops)")
        say(*(f"Network: {name}" for name in names))
        if open_page:
            webbrowser.open(address)

    serve_runs(
        trained or [],
        host=host,
        port=port,
        token=token,
        insecure=insecure,
        root=runs,
        built_in=built_in,
        ready=ready,
    )
