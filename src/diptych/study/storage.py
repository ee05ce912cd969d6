"""Storage that a cluster's machines share: a folder, or whatever fsspec opens (``s3://…``).

Each run has a folder there. The machine that trains it works in a folder of its own and copies what
is new after each epoch, so that another machine can go on with the run.
"""

import json
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diptych.errors import InputError
from diptych.events import EpochEnded, Event
from diptych.runs import CHECKPOINT, LOCK, Run
from diptych.whole_files import write_json


class Storage:
    """Storage by its address.

    Args:
        url: a folder, or an address as fsspec takes it.

    Raises:
        InputError: fsspec does not know such storage, or needs another package for it.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        # Another machine's folder at hand is not this one's.
        self.url = url if "://" in url else str(Path(url).absolute())
        try:
            files, path = url_to_fs(self.url)
        except (ImportError, ValueError, OSError) as problem:
            raise InputError(f"--storage-path {url}: {problem}") from None
        self.files: Any = files
        self.path = str(path).rstrip("/")

    def check(self) -> None:
        """Writes a small file there, reads and removes it.

        Raises:
            InputError: one of these cannot be done.
        """
        probe, content = f"{self.path}/.diptych-{uuid.uuid4().hex}", b"diptych"
        try:
            self.files.makedirs(self.path, exist_ok=True)
            self.files.pipe_file(probe, content)
            same = self.files.cat_file(probe) == content
            self.files.rm_file(probe)
        except Exception as problem:  # Each kind of storage has errors of its own.
            reason = (str(problem).splitlines() or [""])[0] or type(problem).__name__
            raise InputError(
                f"--storage-path {self.url}: it cannot be written and read ({reason}): expected a "
                "folder that all machines see, or an address such as s3://bucket/folder"
            ) from None
        if not same:
            raise InputError(f"--storage-path {self.url}: it does not give back what is written")

    def put(self, folder: Path, name: str, sent: dict[str, tuple[int, int]] | None = None) -> None:
        """Copies a folder there, each file whole or not at all.

        Args:
            folder: the folder.
            name: of the folder there.
            sent: times and sizes of files that are there already; it is brought up to date.
        """
        sent = {} if sent is None else sent
        files = [path for path in folder.rglob("*") if path.is_file()]
        # The description last: it has the checksums of the others, old and new.
        for path in sorted(files, key=lambda path: path.name == "run.json"):
            where = path.relative_to(folder).as_posix()
            if path.name == LOCK or path.name.endswith(".partial"):
                continue
            try:
                state = path.stat()
                facts = state.st_mtime_ns, state.st_size
                if sent.get(where) == facts:
                    continue
                self._put_file(path, f"{self.path}/{name}/{where}")
            except FileNotFoundError:
                continue  # It was replaced or renamed while the others were copied.
            sent[where] = facts

    def _put_file(self, path: Path, target: str) -> None:
        aside = f"{target}.{uuid.uuid4().hex}.partial"
        self.files.makedirs(target.rpartition("/")[0], exist_ok=True)
        self.files.put_file(str(path), aside)
        self.files.mv(aside, target)

    def has(self, name: str) -> bool:
        """True where there is a folder or file of that name."""
        self.files.invalidate_cache()
        return bool(self.files.exists(f"{self.path}/{name}"))

    def fetch(self, name: str, folder: Path) -> None:
        """Copies a folder from there; nothing where there is none."""
        if not self.has(name):
            return
        base = f"{self.path}/{name}"
        for file in self.files.find(base):
            where = str(file)[str(file).index(base) + len(base) + 1 :]
            if not where.endswith(".partial"):
                target = folder / where
                target.parent.mkdir(parents=True, exist_ok=True)
                self.files.get_file(file, str(target))


def share_data(storage: Storage, run: Run) -> None:
    """Copies the run's data there, where they are a folder, once for all runs of the same data."""
    data = run.description()["data"]
    name = _data_name(data)
    if Path(data["source"]).is_dir() and not storage.has(f"{name}/.whole"):
        storage.put(Path(data["source"]), name)
        storage.files.pipe_file(f"{storage.path}/{name}/.whole", b"")


def _data_name(data: dict[str, Any]) -> str:
    return f"data-{data['fingerprint']}"


def train_there(
    storage: Storage,
    name: str,
    description: dict[str, Any],
    train: Callable[[Run, Callable[[Event], None]], None],
) -> None:
    """Trains a run in a folder of this machine, from what the storage has of it.

    Args:
        storage: where it is kept, and its data where they are a folder.
        name: of the run's folder there.
        description: what ``run.json`` says at the beginning.
        train: trains a run, reporting its events.
    """
    with tempfile.TemporaryDirectory(prefix="diptych-") as scratch:
        folder = Path(scratch) / name
        storage.fetch(name, folder)
        folder.mkdir(exist_ok=True)
        if not (folder / "run.json").is_file():
            write_json(folder / "run.json", description)
        run = Run(folder)
        if run.status == "done":
            return
        source = description["data"]["source"]
        if storage.has(_data_name(description["data"])):
            source = str(_fetched_data(storage, _data_name(description["data"])))
        now = run.description()
        write_json(folder / "run.json", now | {"data": now["data"] | {"source": source}})
        try:
            run.load_checkpoint()
        except InputError:  # Its machine was lost between two files. The beginning is safe.
            (folder / CHECKPOINT).unlink(missing_ok=True)
        sent: dict[str, tuple[int, int]] = {}

        def report(event: Event) -> None:
            if isinstance(event, EpochEnded):
                storage.put(folder, name, sent)

        train(run, report)
        storage.put(folder, name, sent)


def _fetched_data(storage: Storage, name: str) -> Path:
    """A folder of this machine with data from there; it stays for the next run."""
    folder = Path(tempfile.gettempdir()) / f"diptych-{name}"
    if not folder.exists():
        aside = Path(tempfile.mkdtemp(prefix="diptych-", suffix=".partial"))
        storage.fetch(name, aside)
        (aside / ".whole").unlink(missing_ok=True)
        try:
            aside.rename(folder)
        except OSError:  # Another process was faster.
            shutil.rmtree(aside)
    return folder


def take_home(storage: Storage, run: Run) -> None:
    """Copies a run that has ended from there into its folder here."""
    data = run.description()["data"]
    with tempfile.TemporaryDirectory(prefix=".taken-", dir=run.folder.parent) as scratch:
        folder = Path(scratch) / "run"
        storage.fetch(run.folder.name, folder)
        description = json.loads((folder / "run.json").read_text("utf-8"))
        write_json(folder / "run.json", description | {"data": data})
        files = [path for path in folder.rglob("*") if path.is_file()]
        for path in sorted(files, key=lambda path: path.name == "run.json"):
            target = run.folder / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
