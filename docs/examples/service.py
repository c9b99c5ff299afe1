"""A long-running service: it answers health checks at once, and embeds as soon as the model is ready.

python service.py 8080
curl localhost:8080/health
curl localhost:8080/embed --data 'database connection'
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from loader import LoaderError, preload_embeddings

model = preload_embeddings("all-MiniLM-L6-v2", "background")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != "/health":
            return self.answer(404, {"error": "not found"})
        if model.is_loaded():
            return self.answer(200, {"status": "ready", "load_time_s": model.get_load_time()})
        error = model.get_error()
        return self.answer(503, {"status": "loading" if error is None else str(error)})

    def do_POST(self) -> None:
        try:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode("utf-8")
            vector = model.load(timeout=5).embed_query(text)  # waits at most 5 s; the load continues
        except (LoaderError, UnicodeDecodeError) as error:
            return self.answer(503, {"error": str(error)})
        return self.answer(200, vector.tolist())

    def answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Keep the terminal quiet."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8080), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
