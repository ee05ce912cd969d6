"""The page of a run while it is trained."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from diptych import extras
from diptych.runs import Run
from diptych.serving.publish import NEEDED
from diptych.snapshots import snapshot_steps

SECONDS_BETWEEN_LOOKS = 0.2


@contextmanager
def live_page(run: Run, ready: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Serves a run's page from its first snapshot on, on a free port, until the block is left.

    Args:
        run: a run that keeps snapshots and is trained within the block.
        ready: called in another thread, with the page's address once it answers.

    Yields:
        A function that returns when the page has ended, which it does not do by itself.

    Raises:
        InputError: the extra ``serve`` is not installed.
    """
    extras.require("the page of a training", *NEEDED)
    page = _Page(run, ready)
    page.start()
    try:
        yield page.join
    finally:
        page.end()


class _Page(threading.Thread):
    def __init__(self, run: Run, ready: Callable[[str], None]) -> None:
        super().__init__(name="page", daemon=True)
        self.training, self.ready = run, ready
        self.ended = threading.Event()
        self.server = None

    def run(self) -> None:
        from diptych.serving.api import create_app
        from diptych.serving.models import open_models
        from diptych.serving.server import Server
        from diptych.serving.settings import Settings

        while not snapshot_steps(self.training):
            if self.ended.wait(SECONDS_BETWEEN_LOOKS):
                return
        hosts = ("127.0.0.1", "localhost", "[::1]")
        app = create_app(open_models([self.training]), Settings(hosts=hosts))
        self.server = Server(app, "127.0.0.1", 0)
        self.server.run_until_stopped(self.ready)

    def end(self) -> None:
        self.ended.set()
        if self.server is not None:
            self.server.should_exit = True
        self.join()
