"""A model hub on the loopback interface: as much of the hub's HTTP interface as a download needs."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from contextlib import contextmanager
from pathlib import Path

COMMIT = "c" * 40


@contextmanager
def serve_hub(models: dict[str, Path], *, broken: bool = False, half_way=None, claimed: int | None = None):
    """Serve model folders by repository name; yield the endpoint and the list of requested paths.

    Args:
        models: folders by repository name.
        broken: large files end half-way.
        half_way: called when half of a large file was sent; the rest follows when it returns.
        claimed: size in bytes that the list of files gives for each, instead of the true one.
    """
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self._answer(body=True)

        def do_HEAD(self):
            self._answer(body=False)

        def _answer(self, *, body: bool) -> None:
            requests.append(self.path)
            path = self.path.partition("?")[0]
            for repo_id, folder in models.items():
                if path.startswith(f"/api/models/{repo_id}/tree/"):
                    return self._json([self._entry(folder, file) for file in _files(folder)], body)
                if path.startswith(f"/api/models/{repo_id}"):
                    files = [self._sibling(folder, file) for file in _files(folder)]
                    return self._json({"id": repo_id, "sha": COMMIT, "siblings": files}, body)
                prefix = f"/{repo_id}/resolve/"
                if path.startswith(prefix):
                    file = folder / path[len(prefix) :].partition("/")[2]
                    if file.is_file():
                        return self._file(file.read_bytes(), body)
            missing = {"X-Error-Code": "EntryNotFound" if "/resolve/" in path else "RepoNotFound"}
            return self._send(404, b"{}" if path != "/" else b"hub", missing, body)

        @staticmethod
        def _entry(folder: Path, file: Path) -> dict[str, object]:
            data = file.read_bytes()
            return {
                "type": "file",
                "path": str(file.relative_to(folder)),
                "size": len(data),
                "oid": hashlib.sha1(data).hexdigest(),
            }

        def _sibling(self, folder: Path, file: Path) -> dict[str, object]:
            name = {"rfilename": str(file.relative_to(folder))}
            if "blobs=true" not in self.path.lower():
                return name
            return {**name, "size": file.stat().st_size if claimed is None else claimed}

        def _json(self, value, body: bool) -> None:
            self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"}, body)

        def _file(self, data: bytes, body: bool) -> None:
            headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
            self._send(200, data, headers, body, is_large=len(data) > 1000)

        def _send(self, status: int, data: bytes, headers: dict[str, str], body: bool, *, is_large=False) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if not body:
                return
            half = len(data) // 2 if is_large else 0
            self.wfile.write(data[:half])
            if is_large and half_way:
                half_way()
            if is_large and broken:
                self.close_connection = True
            else:
                self.wfile.write(data[half:])

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
