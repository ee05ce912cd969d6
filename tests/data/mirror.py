"""A mirror on this machine: a real HTTP server, with ranges and with the faults of mirrors."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Mirror:
    """What it holds and how it behaves; ``requests`` notes each (path, Range header)."""

    files: dict[str, bytes]
    ranges: bool = True
    cut_after: int | None = None  # send this many bytes of the first answers, then hang up
    cuts: int = 0  # how many answers to cut
    length: bool = True
    url: str = ""
    requests: list[tuple[str, str | None]] = field(default_factory=list)


@contextmanager
def serving(mirror: Mirror) -> Iterator[Mirror]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, wanted = self.path.lstrip("/"), self.headers.get("Range")
            mirror.requests.append((name, wanted))
            if name not in mirror.files:
                self.send_error(404)
                return
            contents, start = mirror.files[name], 0
            if wanted and mirror.ranges:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(contents):
                    self.send_error(416)
                    return
                self.send_response(206)
                last = len(contents) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(contents)}")
            else:
                self.send_response(200)
            body = contents[start:]
            if mirror.length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if mirror.cuts and mirror.cut_after is not None:
                mirror.cuts -= 1
                body = body[: mirror.cut_after]
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        mirror.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield mirror
        finally:
            server.shutdown()
            thread.join()
