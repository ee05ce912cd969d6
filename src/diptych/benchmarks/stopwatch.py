"""A stopwatch for trainings: seconds on the wall and on the processor while it runs."""

import time


class Stopwatch:
    """Adds up wall-clock seconds and this process's processor seconds between start and stop."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.processor_seconds = 0.0
        """Of all threads together: what a shared machine does not change much."""
        self._began: tuple[float, float] | None = None

    def start(self) -> None:
        """Starts the clock, where it does not run already."""
        if self._began is None:
            self._began = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """Stops the clock, where it runs."""
        if self._began is not None:
            wall, processor = self._began
            self.seconds += time.perf_counter() - wall
            self.processor_seconds += time.process_time() - processor
            self._began = None
