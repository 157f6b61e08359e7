"""libSQL's protocol against a server of three lines: what a real one does is in `tests/services`."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import awaitly_nb as aw
from awaitly_nb.stores.libsql import libsql_store


class Scripted(BaseHTTPRequestHandler):
    """Gives one answer after the other, and notes what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, self.headers.get("Authorization"), json.loads(body)))
        answer = self.server.answers.pop(0)
        if answer is None:
            self.close_connection = True
            self.connection.close()
            return
        status, content = answer
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


def rows(*values, written=0):
    cells = [{"type": "integer", "value": str(value)} for value in values]
    result = {"cols": [], "rows": [cells] if values else [], "affected_row_count": written}
    return 200, {"results": [{"type": "ok", "response": {"type": "execute", "result": result}}, {"type": "ok"}]}


def failure(message):
    return 200, {"results": [{"type": "error", "error": {"message": message}}, {"type": "ok"}]}


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    server.daemon_threads = True
    server.asked, server.answers = [], []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def store(server):
    store = libsql_store(f"http://127.0.0.1:{server.server_port}", auth_token="hunter2", timeout_s=5)
    yield store
    store.close()


def test_the_token_goes_into_the_header_and_values_are_parameters(server, store):
    server.answers = [rows(written=1)]
    assert store.swap("näme", "head", [b"\x00body"]) is not None
    path, token, asked = server.asked[0]
    assert (path, token) == ("/v2/pipeline", "Bearer hunter2")
    statement = asked["requests"][0]["stmt"]
    assert "näme" not in statement["sql"]
    assert [argument["type"] for argument in statement["args"][:3]] == ["blob", "text", "blob"]
    assert asked["requests"][1] == {"type": "close"}


def test_a_missing_table_is_made(server, store):
    server.answers = [failure("no such table: awaitly"), rows(), rows(written=1)]
    assert store.swap("name", "head", []) is not None
    assert [asked["requests"][0]["stmt"]["sql"].split()[0] for _, _, asked in server.asked] == [
        "INSERT",
        "CREATE",
        "INSERT",
    ]


def test_a_database_that_is_being_written_is_waited_for(server, store):
    server.answers = [failure("SQLite error: database is locked"), rows(1_772_600_767_000_000)]
    assert store.now().year == 2026


def test_a_connection_that_the_server_closed_is_made_anew(server, store):
    server.answers = [rows(1_000_000), None, rows(2_000_000)]
    assert store.now().second == 1
    assert store.now().second == 2
    assert len(server.asked) == 3


def test_a_server_that_closes_every_connection_is_told(server, store):
    server.answers = [None, None]
    with pytest.raises(aw.errors.StoreError, match="cannot use http://127"):
        store.now()


@pytest.mark.parametrize(
    "answer", [(401, b"token hunter2 is not valid"), (200, b"<html>"), failure("syntax error near hunter2")]
)
def test_what_the_server_refuses_is_told_without_the_token(server, store, answer):
    server.answers = [answer]
    with pytest.raises(aw.errors.StoreError) as caught:
        store.read("name")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://db", "libsql://", "http:///path", "postgresql://db"])
def test_what_is_no_server_is_refused(url):
    with pytest.raises(aw.errors.InvalidOptionError, match="libSQL server"):
        libsql_store(url)
