"""A hub on the loopback interface: the few addresses of huggingface.co that a download asks for."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, List
from urllib.parse import unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves one folder as the repository `name`; `requests` lists what was asked for."""

    def __init__(self, name: str, folder: Path) -> None:
        self.requests: List[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None:
                pass

            def do_HEAD(self) -> None:
                self.answer(with_body=False)

            def do_GET(self) -> None:
                self.answer(with_body=True)

            def answer(self, with_body: bool) -> None:
                path = unquote(urlparse(self.path).path)
                hub.requests.append(f"{self.command} {path}")
                parts = path.strip("/").split("/")
                owner, repository = name.split("/")
                if parts[:4] == ["api", "models", owner, repository]:
                    files = sorted(file for file in folder.iterdir() if file.is_file())
                    if "tree" in parts:
                        facts: Any = [
                            {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": "0"}
                            for f in files
                        ]
                    else:
                        siblings = [{"rfilename": file.name} for file in files]
                        facts = {"id": name, "sha": COMMIT, "siblings": siblings}
                    return self.send(json.dumps(facts).encode(), with_body, "application/json")
                if parts[:3] == [owner, repository, "resolve"] and len(parts) == 5:
                    file = folder / parts[4]
                    if file.is_file():
                        return self.send(file.read_bytes(), with_body, "application/octet-stream")
                self.send(b'{"error": "Repository not found"}', with_body, "application/json", 404)

            def send(self, body: bytes, with_body: bool, kind: str, status: int = 200) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
                if status == 404:
                    self.send_header("X-Error-Code", "RepoNotFound")
                self.end_headers()
                if with_body:
                    self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *details: Any) -> None:
        self.server.shutdown()
        self.server.server_close()
