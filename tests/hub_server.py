"""A server on this machine that speaks the hub's protocol, as far as `datasets` uses it to download files."""

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
INFO = re.compile(r"/api/datasets/(?P<repo>[^/]+/[^/?]+)(/revision/(?P<revision>[^/?]+))?")
FILE = re.compile(r"/datasets/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


@contextmanager
def serve(repositories: Mapping[str, Mapping[str, bytes]], revision: str) -> Iterator[ThreadingHTTPServer]:
    """Repositories (id -> file -> bytes) with this one revision, which stands for COMMIT; `.paths` are the requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(with_body=False)

        def do_GET(self):
            self.answer(with_body=True)

        def answer(self, with_body):
            self.server.paths.append(self.path)
            body, headers = b"", {}
            info, file = INFO.match(self.path), FILE.fullmatch(self.path)
            if info and info["repo"] in repositories and (info["revision"] or "main") == revision:
                body = json.dumps({"id": info["repo"], "sha": COMMIT, "siblings": []}).encode()
            if file and file["repo"] in repositories and file["revision"] == revision:
                body = repositories[file["repo"]].get(file["file"], b"")
                headers = {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": COMMIT}
            self.send_response(200 if body else 404)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.paths = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def environment(server: ThreadingHTTPServer, cache: Path) -> dict[str, str]:
    """For a process of its own: the hub's libraries read these when they are imported."""
    address = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "NO_PROXY": "127.0.0.1"}
    return {**os.environ, **address, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}
