"""The description of the machine and of what is installed on it."""

from importlib import metadata

import pytest

from diptych import machine


@pytest.mark.parametrize("name", ["tensorflow", "tensorflow-cpu"])
def test_each_build_of_a_package_has_its_version(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(package: str) -> str:
        if package == name:
            return "2.21.0"
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(machine.metadata, "version", version)
    assert machine.versions() == {"tensorflow": "2.21.0"}
