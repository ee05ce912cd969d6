"""What is said where an extra is missing."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from diptych import extras
from diptych.errors import InputError
from diptych.serving.models import EMBEDDED
from support import diptych

PROJECT = Path(__file__).parent.parent
OTHERS = sorted({module for modules in extras.EXTRAS.values() for module in modules})
WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name not in {modules}:
            return PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Without if each is PathFinder else each for each in sys.meta_path]
"""
"""As if modules were not installed."""


def installed_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, record: str | None) -> None:
    """Makes the package look as if pip had installed it from there."""
    folder = tmp_path / "diptych-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: diptych\nVersion: 1.0\n")
    if record is not None:
        (folder / "direct_url.json").write_text(record)
    found = metadata.Distribution.at(folder)
    monkeypatch.setattr(metadata, "distribution", lambda _: found)


@pytest.mark.parametrize(
    ("record", "command"),
    [
        (None, "pip install '.[torch]'"),
        ("", "pip install '.[torch]'"),
        ("damaged", "pip install '.[torch]'"),
        ({"url": "file:///src/my%20copy", "dir_info": {}}, "pip install '/src/my copy[torch]'"),
        (
            {"url": "file:///src/it", "dir_info": {"editable": True}},
            "pip install -e '/src/it[torch]'",
        ),
        (
            {"url": "file:///w/diptych-1.0-py3-none-any.whl", "archive_info": {}},
            "pip install 'diptych[torch] @ file:///w/diptych-1.0-py3-none-any.whl'",
        ),
        (
            {
                "url": "https://example.org/d.git",
                "vcs_info": {"vcs": "git", "commit_id": "12ab"},
            },
            "pip install 'diptych[torch] @ git+https://example.org/d.git@12ab'",
        ),
    ],
)
def test_the_advice_names_the_source(
    record: dict | str | None, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = json.dumps(record) if isinstance(record, dict) else record
    installed_from(monkeypatch, tmp_path, text)
    assert extras.advice("torch") == f"`{command}`"
    if "@" in command:  # As pip reads it.
        assert Requirement(command.split("'")[1]).extras == {"torch"}


def test_the_source_that_is_the_present_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed_from(monkeypatch, tmp_path, json.dumps({"url": tmp_path.as_uri(), "dir_info": {}}))
    monkeypatch.chdir(tmp_path)
    assert extras.advice("torch") == "`pip install '.[torch]'`"


def test_what_is_missing_is_named_with_all_extras_that_bring_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed_from(monkeypatch, tmp_path, None)
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name in absent else "there")
    absent: set[str] = set()
    extras.require("this", "keras", "torch")
    absent = {"torch"}
    with pytest.raises(InputError, match=r"^this needs torch, which is not installed: `pip"):
        extras.require("this", "keras", "torch")
    absent = {"keras", "torch", "onnx"}
    with pytest.raises(InputError, match="this needs keras, torch and onnx, which are not") as told:
        extras.require("this", "keras", "torch", "onnx")
    assert "`pip install '.[tensorflow,torch,onnx]'`" in str(told.value)
    absent = {"uvicorn", "onnx"}
    with pytest.raises(InputError, match=r"install '\.\[serve\]'"):
        extras.require("serving", "uvicorn", "onnx")


def test_the_extras_are_those_of_the_project() -> None:
    """Each module is in a package that the extra asks for, and the core has none of them."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    assert set(optional) == {*extras.EXTRAS, "all", "docs"}
    packages = metadata.packages_distributions()
    core = {canonicalize_name(Requirement(each).name) for each in project["dependencies"]}

    def asked_by(extra: str) -> set[str]:
        names = set[str]()
        for each in map(Requirement, optional[extra]):
            names |= {canonicalize_name(each.name)}.union(*map(asked_by, each.extras))
        return names

    for extra, modules in extras.EXTRAS.items():
        asked = asked_by(extra)
        for module in modules:
            if module in packages:  # Another Python may lack an extra.
                # The CPU's build of TensorFlow, which `make` sets up, has a name of its own.
                names = {canonicalize_name(name).removesuffix("-cpu") for name in packages[module]}
                assert names & asked, (extra, module)
                assert not names & core, (extra, module)


def test_what_make_sets_up_asks_for_what_the_extras_ask_for() -> None:
    """The bounds of TensorFlow, Keras and h5py stand in the extra and in the group."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())

    def bounds(requirements: list[Any]) -> set[tuple[str, str]]:
        asked = [Requirement(each) for each in requirements if isinstance(each, str)]
        return {(each.name.removesuffix("-cpu"), str(each.specifier)) for each in asked}

    extras_of = project["project"]["optional-dependencies"]
    groups = project["dependency-groups"]
    assert bounds(extras_of["tensorflow"]) <= bounds(groups["compare"])
    assert bounds(extras_of["export"]) - bounds(groups["dev"]) == {("diptych", "")}


def test_the_developers_have_what_the_users_have() -> None:
    """The same version of each package, so that the tests run on what `make compare` sets up."""

    def pinned(file: str) -> set[str]:
        lines = (PROJECT / file).read_text().splitlines()
        return {line.split(" ")[0] for line in lines if "==" in line}

    assert pinned("constraints.txt") < pinned("constraints-dev.txt")


def test_the_core_has_what_the_parent_imports() -> None:
    """All of the command line and of the audit's parent in a process with the core alone."""
    code = WITHOUT.format(modules=OTHERS) + (
        "import diptych, diptych.cli\n"
        "for name in diptych.__all__: getattr(diptych, name)\n"
        "import diptych.workflows.numpy.workflow, diptych.activations, diptych.benchmarks\n"
        "from diptych.workflows.registry import installed\n"
        "assert installed() == ['numpy'], installed()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def without(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Gives the environment of a process in which modules are not installed."""

    def environment(*modules: str) -> dict[str, Any]:
        (tmp_path / "sitecustomize.py").write_text(WITHOUT.format(modules=modules))
        return {"PYTHONPATH": f"{tmp_path}:{Path(extras.__file__).parents[1]}"}

    return environment


RUN = str(EMBEDDED / "tensorflow-article-fast-seed0")


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("train tensorflow", "tensorflow"),
        ("train keras@torch", "tensorflow,torch"),
        ("train torch", "torch"),
        ("train jax", "jax"),
        ("compare", "tensorflow"),
        ("compare --workflows numpy,torch", "torch"),
        ("audit keras:article torch:article", "tensorflow"),
        ("audit FILE.onnx FILE.onnx", "onnx"),
        ("audit FILE.keras FILE.keras", "tensorflow"),
        ("export RUN --to keras --out FOLDER/x.keras", "tensorflow"),
        ("export RUN --to savedmodel --out FOLDER/x.savedmodel", "tensorflow"),
        ("export RUN --to litert --out FOLDER/x.tflite", "export"),
        ("export RUN --to onnx --out FOLDER/x.onnx", "onnx"),
        ("export RUN --to torch --out FOLDER/x.pt2", "torch"),
        ("import FILE.keras", "tensorflow"),
        ("import FILE.onnx", "onnx"),
        ("look network", "look"),
        ("serve", "serve"),
        ("train numpy --tensorboard", "tensorboard"),
        ("study run epochs", "study"),
        ("study run search", "study"),
        ("bench --workflows torch", "torch"),
        ("bench inference --workflows onnxruntime", "onnx"),
    ],
)
def test_a_command_says_which_extra_it_needs(
    command: str, extra: str, tmp_path: Path, without: Callable[..., dict[str, Any]]
) -> None:
    for suffix in (".onnx", ".keras"):
        (tmp_path / f"file{suffix}").write_bytes(b"")
    words = command.replace("RUN", RUN).replace("FILE", str(tmp_path / "file"))
    arguments = words.replace("FOLDER", str(tmp_path)).split()
    if arguments[0] in ("train", "compare", "import", "study"):
        arguments += ["--runs", str(tmp_path / "runs")]
    done = diptych(*arguments, **without(*OTHERS))
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.splitlines()
    assert "not installed: `pip install " in line
    assert f"[{extra}]'" in line
    assert not (tmp_path / "runs").exists()


def test_a_run_predicts_without_its_framework(
    tmp_path: Path, without: Callable[..., dict[str, Any]]
) -> None:
    """By the reference in NumPy, and by ONNX Runtime where that is there."""
    digit = np.zeros((28, 28), np.uint8)
    digit[4:24, 13:16] = 255
    Image.fromarray(digit).save(tmp_path / "one.png")
    shares = []
    for absent in (OTHERS, [name for name in OTHERS if not name.startswith("onnx")]):
        picture = str(tmp_path / "one.png")
        done = diptych("predict", RUN, picture, "--json", "-", **without(*absent))
        assert done.returncode == 0, done.stderr
        [answer] = json.loads(done.stdout)["predictions"]
        assert answer["answer"] == "1"
        shares.append(list(answer["probabilities"].values()))
    assert np.allclose(*shares, atol=1e-5) and shares[0] != shares[1]
