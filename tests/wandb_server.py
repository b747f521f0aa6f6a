"""A server on this machine that answers what wandb asks when it uploads runs or saves a view, and remembers it.

wandb's own process talks to it over HTTP as to the real one, so what is compared in tests is what would be sent.
"""

import gzip
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

KEY = "a" * 40
VIEWER = {"id": "VXNlcg==", "entity": "someone", "username": "someone", "flags": "{}", "admin": False}
ARTIFACT = {"id": "QXJ0", "state": "COMMITTED", "artifactSequence": {"id": "U2Vx", "latestArtifact": None}}


class Server:
    """`requests`: what was asked by GraphQL, as (operation, variables); `history`: run -> lines of its history.

    refuses: whether to answer a GraphQL operation with an error, given its name and variables
    """

    def __init__(self, refuses: Callable[[str, Any], bool] = lambda operation, variables: False) -> None:
        self.requests: list[tuple[str, Any]] = []
        self.history: dict[str, list[dict[str, Any]]] = {}
        self.refuses = refuses
        self.views: dict[str, dict[str, Any]] = {}
        self.project: dict[str, Any] | None = {"id": "UHJv"}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What makes wandb use this server."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY}

    def runs(self) -> list[str]:
        """The ids of the runs that were uploaded, in order."""
        return list(dict.fromkeys(asked["name"] for name, asked in self.requests if name == "UpsertBucket"))

    def answer(self, operation: str, asked: Any) -> dict[str, Any]:
        """The data of a GraphQL answer."""
        if operation == "UpsertBucket":
            project = {"id": "UHJv", "name": asked["project"], "entity": {"id": "RW50", "name": VIEWER["entity"]}}
            named = {"id": "QnVj", "name": asked["name"], "displayName": asked["displayName"]}
            return {"upsertBucket": {"bucket": {**named, "project": project}, "inserted": True}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in asked["files"]]
            return {"createRunFiles": {"runID": "UnVu", "uploadHeaders": [], "files": files}}
        if operation == "CreateArtifact":
            return {"createArtifact": {"artifact": ARTIFACT}}
        if operation == "UpsertView2":
            self.views[asked["name"]] = asked
            return {"upsertView": {"view": {"id": "Vmlldw==", "name": asked["name"]}, "inserted": True}}
        if operation == "View":
            found = self.views.get(asked["viewName"])
            nodes = [{"node": {**found, "id": "Vmlldw=="}}] if found else []
            return {"project": self.project and {**self.project, "allViews": {"edges": nodes}}}
        return {"viewer": VIEWER, "serverInfo": {"features": []}}

    def __enter__(self) -> "Server":
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            code, found = 200, {}
            if self.path == "/graphql":
                code, found = self._graphql(json.loads(body))
            elif self.path.endswith("/file_stream"):
                lines = json.loads(body).get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
                server.history.setdefault(self.path.split("/")[-2], []).extend(map(json.loads, lines))
            answer = json.dumps(found).encode()
            self.send_response(code)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = do_POST

        def _graphql(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            operation = asked.get("operationName") or asked["query"].split("(")[0].split("{")[0].split()[-1]
            if server.refuses(operation, asked.get("variables")):
                return 400, {"errors": [{"message": "refused"}]}
            server.requests.append((operation, asked.get("variables")))
            return 200, {"data": server.answer(operation, asked.get("variables"))}

        def log_message(self, *_: Any) -> None: ...

        def handle(self) -> None:
            with suppress(ConnectionError):  # wandb's process may leave without a goodbye
                super().handle()

    return Handler
