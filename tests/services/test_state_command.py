"""`awaitly-nb state` on each real server, by its URL, whose password appears nowhere."""

import json

from click.testing import CliRunner

import awaitly_nb as aw
from awaitly_nb.cli.app import app
from tests.services.servers import PASSWORD


def test_list_show_and_rm_by_url(server, open_store, table, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_STORE", server.url())

    def awaitly(*arguments, code=0):
        done = CliRunner().invoke(app, ["state", *arguments, "--table", table], catch_exceptions=False)
        assert done.exit_code == code, done.output
        assert PASSWORD not in done.output
        return done.output

    states = open_store().blocking
    large = "x" * 2_000_000
    states.save("order-1", aw.ResumeState().with_value("user", {"name": "Ada"}).with_value("large", large))
    states.save("order-2", aw.ResumeState().with_value("user", aw.Err("UNKNOWN")))

    assert [one["id"] for one in json.loads(awaitly("list", "--json"))] == ["order-2", "order-1"]
    assert "order-2" in awaitly("list", "--prefix", "order-2")
    steps = json.loads(awaitly("show", "order-1", "--json"))["steps"]
    assert [(step["key"], step["value"]) for step in steps] == [("user", '{"name": "Ada"}'), ("large", "a large value")]
    assert "UNKNOWN" in awaitly("show", "order-2")

    lease = states.acquire("order-1", "1m", owner="kernel 7 on atlas")
    assert "kernel 7 on atlas" in awaitly("rm", "order-1", code=4)
    states.release("order-1", lease)
    awaitly("rm", "order-1")
    assert [one.id for one in states.list()] == ["order-2"]
    assert "no state 'order-1'" in awaitly("show", "order-1", code=1)
