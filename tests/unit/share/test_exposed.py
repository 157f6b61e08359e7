"""What looks like a secret or personal data is told, and never shown whole."""

import json

import pytest

from awaitly_nb.share import exposed_in

SECRETS = {
    "a private key": "-----BEGIN RSA PRIVATE " + "KEY-----",
    "an access key of AWS": "AKIA" + "ABCDEFGHIJKLMNOP",
    "a token of GitHub": "ghp_" + "a1" * 18,
    "a token of GitLab": "glpat-" + "a1" * 10,
    "a token of Slack": "xoxb-" + "1234567890-abc",
    "an API key": "sk-" + "a1" * 12,
    "a JSON web token": "eyJ" + "hbGciOiJI." + "eyJzdWIiOiIx." + "c2lnbmF0dXJl",
    "an address with a password": "postgres://" + "ann:" + "hunter2hunter2@db/x",
    "a password in the text": "db_password = " + "'hunter2hunter2'",
    "an e-mail address": "ann.smith@mail.example.org",
}


@pytest.mark.parametrize("what", SECRETS)
def test_each_kind_is_found_in_the_text_of_a_notebook(what):
    text = json.dumps({"source": [f'x = "{SECRETS[what]}"\n']})
    found = [one for one in exposed_in(text, "n.ipynb", {}) if one.what == what]
    assert len(found) == 1
    assert found[0].where == "n.ipynb"
    assert len(found[0].sample) < 10


def test_a_password_in_double_quotes_is_found_as_json_has_it():
    text = json.dumps({"source": ['api_key = "hunter2hunter2"']})
    assert [one.what for one in exposed_in(text, "", {})] == ["a password in the text"]


def test_values_of_the_environment_are_found_by_the_name_of_the_variable():
    environment = {"DB_PASSWORD": 'corr"ect-horse', "EDITOR": "emacs-nox-2", "MY_TOKEN": "short", "HOME": "/home/ann"}
    text = json.dumps(['corr"ect-horse', "emacs-nox-2", "short", "/home/ann/data"])
    assert [one.what for one in exposed_in(text, "", environment)] == [
        "the value of the environment variable DB_PASSWORD",
        "your home folder",
    ]


def test_plain_code_is_not_suspected():
    text = json.dumps(["tokens = text.split()", "key = lambda row: row.n", "@cache", "df['a'] @ df['b']", "x: int = 5"])
    assert list(exposed_in(text, "", {})) == []


def test_many_of_a_kind_are_told_five_times():
    text = " ".join(f"user{n}@example.org" for n in range(50))
    assert len(list(exposed_in(text, "", {}))) == 5
