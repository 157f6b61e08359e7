"""`awaitly-nb push` and `pull`: CI sends, a laptop fetches what its plan names, and nobody else is believed."""

import json

import pytest

import awaitly_nb as aw
from tests.unit.share.people import CELLS, User


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What CI has after it ran, and what the run gave; nothing is sent yet."""
    ci = User(tmp_path_factory.mktemp("ci"))
    ci.write(CELLS)
    return ci, ci.run_all()


@pytest.fixture
def remote(tmp_path):
    return tmp_path / "remote.db"


@pytest.fixture
def ci(ran, remote):
    ci, _ = ran
    ci.more = {"AWAITLY_NB_REMOTE": str(remote), "AWAITLY_NB_REMOTE_WRITE": "push"}
    return ci


@pytest.fixture
def laptop(tmp_path, remote, ci):
    laptop = User(tmp_path / "somebody's laptop", AWAITLY_NB_REMOTE=str(remote))
    laptop.write(CELLS)
    laptop.trust(ci, "ci")
    return laptop


def names(told):
    return [one["name"] for one in told]


def states(user):
    return [cell["state"] for cell in user.data("plan", user.work / "n.ipynb", code=None)["cells"]]


HITS = ["live", "live", "live", "hit", "hit", "hit", "live"]


def test_what_ci_pushed_a_fresh_clone_elsewhere_pulls_and_computes_nothing(ran, ci, laptop, remote):
    told = ci.data("push", ci.work / "n.ipynb")
    assert sorted(names(told["pushed"])) == ["load", "model", "total"]
    assert (told["already_there"], told["skipped"]) == (0, [])
    again = ci.data("push", ci.work / "n.ipynb")
    assert (again["pushed"], again["already_there"]) == ([], 3)
    assert states(laptop)[3] == "new"
    told = laptop.data("pull", laptop.work / "n.ipynb")
    assert sorted(names(told["pulled"])) == ["load", "model", "total"]
    assert told["skipped"] == []
    assert states(laptop) == HITS
    assert "0 cached results, 0 B, 3 already there" in laptop.awaitly("pull", laptop.work / "n.ipynb")
    badges, *values = laptop.run_all()
    assert all(badge.startswith("from cache") for badge in badges)
    assert values == ran[1][1:]


def test_run_all_reads_through_without_a_pull(ran, ci, laptop):
    ci.awaitly("push", ci.work / "n.ipynb")
    laptop.environment |= {"AWAITLY_NB_REMOTE": laptop.more["AWAITLY_NB_REMOTE"], "AWAITLY_NB_REMOTE_WAIT": "60"}
    badges, *values = laptop.run_all()
    assert all(badge.startswith("from cache") for badge in badges)
    assert values == ran[1][1:]


def test_nothing_is_sent_where_nobody_allows_it(ci, laptop, remote):
    assert "AWAITLY_NB_REMOTE_WRITE=push" in laptop.awaitly("push", laptop.work / "n.ipynb", code=1)
    assert not remote.exists()
    laptop.more.pop("AWAITLY_NB_REMOTE")
    assert "there is no remote" in laptop.awaitly("pull", laptop.work / "n.ipynb", code=1)


def test_an_unknown_signer_is_told_with_the_remedy_and_nothing_comes(ci, laptop):
    ci.awaitly("push", ci.work / "n.ipynb")
    laptop.awaitly("trust", "remove", "ci")
    said = laptop.awaitly("pull", laptop.work / "n.ipynb", code=1)
    assert f'awaitly-nb trust add "{ci.data("trust", "key")["key"]}"' in said
    assert "pulled 0 cached results" in said
    assert states(laptop)[3] == "new"


def test_what_is_damaged_there_is_told_and_costs_nobody_else(ci, laptop, remote):
    ci.awaitly("push", ci.work / "n.ipynb")
    store = aw.open_store(remote).records
    (piece,) = store.scan("\x1epiece", bodies=True)
    store.swap(piece.name, piece.head, [b"x" + bytes(piece.body)[1:]])
    store.close()
    told = laptop.data("pull", laptop.work / "n.ipynb", code=1)
    assert sorted(names(told["pulled"])) == ["load", "total"]
    assert [(one["name"], one["failed"]) for one in told["skipped"]] == [("model", True)]
    assert "not what was signed" in told["skipped"][0]["why"]


def test_what_would_not_hit_here_is_left_and_told(ci, laptop):
    ci.awaitly("push", ci.work / "n.ipynb")
    (laptop.work / "in.csv").write_text("a\n5\n")
    told = laptop.data("pull", laptop.work / "n.ipynb")
    assert told["pulled"] == []
    assert "in.csv" in told["skipped"][0]["why"]
    assert not told["skipped"][0]["failed"]


def test_a_bound_holds(ci, laptop):
    ci.awaitly("push", ci.work / "n.ipynb")
    laptop.more["AWAITLY_NB_SIZE_LIMIT"] = "1 MB"
    told = laptop.data("pull", laptop.work / "n.ipynb", code=1)
    assert sorted(names(told["pulled"])) == ["load", "total"]
    assert "size_limit" in told["skipped"][0]["why"]


def test_it_says_what_it_does_and_warns(ci, laptop, monkeypatch):
    said = ci.awaitly("push", ci.work / "n.ipynb")
    assert "pushed model (1.6 MB)" in said
    assert "pushed 3 cached results, 1.6 MB" in said
    assert "pulled model (1.6 MB)" in laptop.awaitly("pull", laptop.work / "n.ipynb")


AUTO_CELLS = [
    "import numpy as np",
    "n = 300",
    "table = [i % 7 for i in range(n)]",
    "# awaitly: cache\narray = np.asarray(table, dtype=float) * 2",
    "# awaitly: cache\ntotal = float(array.sum())",
]


@pytest.mark.parametrize("way", ["bundle", "remote"])
def test_what_is_remembered_of_cells_that_are_not_stored_travels_too(tmp_path, remote, way):
    auto = {"AWAITLY_NB_AUTO": "1", "AWAITLY_NB_REMOTE": str(remote)}
    ann = User(tmp_path / "ann", **auto, AWAITLY_NB_REMOTE_WRITE="push")
    bob = User(tmp_path / "bob", **auto)
    for user in (ann, bob):
        user.write(AUTO_CELLS)
        user.environment.pop("AWAITLY_NB_REMOTE")
    ann.run_all()
    expected = states(ann)
    assert expected.count("hit") == 2
    bob.trust(ann)
    if way == "bundle":
        ann.awaitly("pack", ann.work / "n.ipynb", "-o", tmp_path / "n.awaitly", "--yes")
        told = bob.data("open", tmp_path / "n.awaitly", "--into", bob.work, "--trust")
        assert [cell["state"] for cell in told["plan"]["cells"]] == expected
    else:
        ann.awaitly("push", ann.work / "n.ipynb")
        assert len(bob.data("pull", bob.work / "n.ipynb")["pulled"]) == 2
    assert states(bob) == expected


def test_notes_that_a_trusted_signer_forged_are_left_out(tmp_path):
    from datetime import UTC, datetime

    from awaitly_nb.plans import Notes

    sound = {"code": "c", "name": "x", "s": 1.0, "at": 5.0, "parts": [["code", "x", "d", "x"]], "made": {"vars": {}}}
    wrong = [
        *({**sound, name: value} for name in sound for value in (None, -1, [[]], {"vars": 5}, [["a"]], True)),
        *({**sound, "at": at} for at in (1e300, float("inf"), float("nan"), -1)),
        *({**sound, "made": {name: value}} for name in ("vars", "unknown", "changed") for value in (5, [5], {"a": 5})),
        *(5, None, [], "x", {}),
    ]
    notes = Notes(tmp_path / "notes.jsonl")
    assert notes.take(wrong, {"c"}) == 0
    assert notes.take([{**sound, "code": "other"}], {"c"}) == 0
    assert notes.take([sound, *wrong], {"c"}) == 1
    assert notes.take([sound], {"c"}) == 0
    with (tmp_path / "notes.jsonl").open("a") as file:
        file.writelines(json.dumps(one, default=str) + "\n" for one in wrong)
    (record,) = Notes(tmp_path / "notes.jsonl").records()
    assert record.at == datetime.fromtimestamp(5, UTC)


def test_doctor_and_why_tell_of_trust_and_place(ci, laptop, remote):
    ci.awaitly("push", ci.work / "n.ipynb")
    store = aw.open_store(remote).records
    pulled = laptop.data("pull", laptop.work / "n.ipynb")
    assert len(pulled["pulled"]) == 3
    found = {(one["what"], one["ok"]): one["state"] for one in laptop.data("doctor", code=None)}
    assert found["from others", True] == "3 of the keys: came from ci, computed on another machine"
    assert "3 entries are signed by ci" in [one["state"] for one in laptop.data("doctor", code=None)]
    assert "came from ci, computed on another machine" in laptop.awaitly("why", "model")
    laptop.awaitly("trust", "remove", "ci")
    said = next(one for one in laptop.data("doctor", code=1) if one["what"] == "remote" and not one["ok"])
    key = ci.data("trust", "key")
    assert said["state"].startswith(f"3 entries are signed by {key['words']}, whom you do not trust")
    assert f'awaitly-nb trust add "{key["key"]}" --name NAME' in said["state"]
    store.close()


def test_a_version_that_is_another_one_here_is_told(tmp_path):
    from awaitly_nb.cache import Entry
    from awaitly_nb.manage import came_from

    entry = Entry(key="k", came=(("signer", "ci"), ("python", "3.1"), ("numpy", "1.0"), ("nowhere-at-all", "2.0")))
    told = came_from(entry)
    assert told.startswith("came from ci, computed on another machine: python 3.1, here ")
    assert "numpy 1.0, here " in told
    assert told.endswith("nowhere-at-all 2.0, here not installed")
    assert came_from(Entry(key="k")) == ""
