"""The server's metrics, in Prometheus' format."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

PATHS = ("/predict", "/layers", "/models", "/health", "/metrics", "/samples", "/")
"""Labels come from here: what a client makes up must not become a series of its own."""
SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """One server's counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "diptych_requests", "Requests answered", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "diptych_request_seconds",
            "Time from a request to its answer",
            ["path"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "diptych_batch_images", "Images read at once", buckets=SIZES, registry=self.registry
        )
        self.waiting = Gauge(
            "diptych_waiting_images", "Images in the queue", registry=self.registry
        )

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Counts one answer."""
        label = path if path in PATHS else "other"
        self.requests.labels(label, str(status)).inc()
        self.seconds.labels(label).observe(seconds)

    def text(self) -> bytes:
        """The exposition format, version 0.0.4."""
        return generate_latest(self.registry)
