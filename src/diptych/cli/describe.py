"""The commands that describe networks, recipes and data."""

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli.answers import answer
from diptych.cli.app import app
from diptych.cli.options import Json, Size

data_app = typer.Typer(help="Describe and save data sets and folders of images.")
app.add_typer(data_app, name="data")


@app.command(short_help="Show the layers of a network, with shapes and parameters.")
def summary(
    network: Annotated[str, typer.Argument(help="A name in the zoo, or a TOML file.")] = "article",
    json_file: Json = None,
) -> None:
    """Show the layers of a network, with shapes, parameters and multiply-adds."""
    from dataclasses import asdict

    from diptych.network import Network
    from diptych.render.description import network_summary

    found = Network.load(network)
    layers = [asdict(layer) for layer in found.summary()]
    values = {
        "schema": 1,
        "network": found.to_dict(),
        "layers": layers,
        "parameters": found.parameters,
        "trained_parameters": found.trained_parameters,
    }
    answer(values, network_summary(found), json_file)


@app.command()
def zoo(json_file: Json = None) -> None:
    """List the named networks and recipes."""
    from diptych import zoo
    from diptych.network import Network
    from diptych.recipe import Recipe
    from diptych.render.description import zoo_list

    networks = [Network.load(name) for name in zoo.names("networks")]
    recipes = [Recipe.load(name) for name in zoo.names("recipes")]
    values = {
        "schema": 1,
        "networks": [network.to_dict() for network in networks],
        "recipes": [recipe.model_dump(mode="json") for recipe in recipes],
    }
    answer(values, zoo_list(networks, recipes), json_file)


@data_app.command("list")
def data_list(json_file: Json = None) -> None:
    """List the named data sets."""
    from dataclasses import asdict

    from diptych.data import known_data
    from diptych.render import data as rendered

    found = known_data()
    values = {"schema": 1, "data": [asdict(one) for one in found]}
    answer(values, rendered.data_list(found), json_file)


@data_app.command("info")
def data_info(
    name: Annotated[str, typer.Argument(help="A data set's name, or a folder.")],
    size: Size = None,
    json_file: Json = None,
) -> None:
    """Show the image size, the classes, their numbers of images, and the source of a data set."""
    from diptych.data import load_data
    from diptych.data.sizes import with_size
    from diptych.render import data as rendered

    found = load_data(with_size(name, size))
    answer(rendered.data_facts(found), rendered.data_info(found), json_file)


@data_app.command("save")
def data_save(
    name: Annotated[str, typer.Argument(help="A data set's name, or a folder.")],
    folder: Annotated[Path, typer.Argument(help="The folder for the files.")],
    size: Size = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    json_file: Json = None,
) -> None:
    """Write a data set as four gzipped IDX files, for scripts and other tools."""
    from diptych.data import load_data
    from diptych.data.saving import save_idx_folder
    from diptych.data.sizes import with_size

    data = load_data(with_size(name, size))
    files = [str(file) for file in save_idx_folder(data, folder, force=force)]
    answer({"schema": 1, "files": files}, "\n".join(f"Wrote {file}" for file in files), json_file)
