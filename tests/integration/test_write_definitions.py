"""The script that drafts definitions, against a server that answers as an OpenAI-compatible one."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

SCRIPT = Path(__file__).parents[2] / "scripts" / "write_definitions.py"
KEY = "not-a-real-key-5ee1"


class Answers(BaseHTTPRequestHandler):
    asked: list[tuple[str, str, dict]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, self.headers.get("Authorization", ""), body))
        answer = {"choices": [{"message": {"content": 'It is: "this"\n and # that. '}}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer if body["model"] == "good" else {"error": KEY}).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server():
    Answers.asked.clear()
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def write_definitions(*words: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "SOME_KEY": KEY + "\n", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, str(SCRIPT), *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_draft_is_yaml_with_a_sentence_for_each_label(server):
    done = write_definitions(
        "dataset=tickets", "--endpoint", server, "--model", "good", "--key-from", "SOME_KEY", "--shots", "2"
    )
    assert done.returncode == 0, done.stderr
    definitions = yaml.safe_load(done.stdout)["definitions"]
    assert len(definitions) == len(Answers.asked) == 8
    assert set(definitions.values()) == {'It is: "this" and # that.'}
    path, authorization, body = Answers.asked[0]
    assert (path, authorization) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert "“refund”" in body["messages"][0]["content"]
    assert KEY not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["dataset=tickets", "--model", "bad"], "did not answer in the format of /chat/completions"),
        (["dataset=ticketz", "--model", "good"], "did you mean 'tickets'"),
        (["dataset=local", "dataset.path=gone", "--model", "good"], "gone"),
        (["model=tiny", "--model", "good"], "'model=tiny' does not set the data set"),
    ],
)
def test_errors_are_one_sentence(server, words, part):
    done = write_definitions(*words, "--endpoint", server, "--key-from", "SOME_KEY")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert part in done.stderr
    assert KEY not in done.stderr
