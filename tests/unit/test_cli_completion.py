"""Completion: of keys, of ids and of words that bash takes apart."""

import os
import pty
import select
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

import awaitly_nb as aw
from awaitly_nb.cli.app import app

WAIT_S = 60
COMMAND = [sys.executable, "-c", "from awaitly_nb.cli import main; main()"]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    cache = aw.create_disk_cache(tmp_path / "cache", namespace="w")
    for key in ("user:1", "user:22", "user:two words", "a*b", "score:$HOME"):
        cache.set(key, aw.Ok(1))


def completed(line, **env):
    """Return what bash is told to insert."""
    environment = {**os.environ, **env, "_AWAITLY_NB_COMPLETE": "bash_complete", "COMP_LINE": line}
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return sorted(found.removeprefix("plain,") for found in done.stdout.splitlines() if found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "inserted"),
    [
        ("awaitly-nb sho", ["show"]),
        ("awaitly-nb show us", ["user:1", "user:22", "user:two\\ words"]),
        ("awaitly-nb show user:", ["1", "22", "two\\ words"]),
        ("awaitly-nb show user:2", ["22"]),
        ("awaitly-nb rm a", ["a\\*b"]),
        ("awaitly-nb keys sc", ["score:\\$HOME"]),
        ("awaitly-nb show nothing", []),
        ("awaitly-nb rm --ol", ["--older-than"]),
        ("awaitly-nb trust fo", ["folder"]),
    ],
)
def test_keys_commands_and_options(line, inserted):
    assert completed(line) == inserted


@pytest.mark.slow
def test_ids_of_states_from_the_store_that_was_named(tmp_path):
    path = tmp_path / "runs.db"
    store = aw.sqlite(path)
    for name in ("order:1", "order:2", "mail"):
        store.blocking.save(name, aw.ResumeState())
    store.blocking.close()
    assert completed(f"awaitly-nb state show --store {path} order:") == ["1", "2"]
    assert completed(f"awaitly-nb state show --store={path} ma") == ["mail"]
    assert completed("awaitly-nb state rm ma", AWAITLY_NB_STORE=str(path)) == ["mail"]
    assert completed("awaitly-nb state rm ma", AWAITLY_NB_STORE="no such file") == []
    assert completed("awaitly-nb state rm ma") == []


@pytest.mark.slow
def test_a_settings_mistake_does_not_spill_into_the_line():
    assert completed("awaitly-nb show us", AWAITLY_NB_TTL="soon") == []


@pytest.mark.slow
def test_in_a_real_bash(tmp_path):
    """What a person sees who presses the tabulator."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "awaitly-nb"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "from awaitly_nb.cli import main; main()" "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "TERM": "dumb"}
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""

    def read_until(text):
        nonlocal seen
        deadline = time.monotonic() + WAIT_S
        while text not in seen:
            assert time.monotonic() < deadline, seen
            if select.select([ours], [], [], 0.1)[0]:
                seen += os.read(ours, 65536)
        seen = seen[seen.index(text) + len(text) :]

    try:
        os.write(ours, b'PS1="$ "; eval "$(awaitly-nb completion bash)"; echo rea""dy\n')
        read_until(b"ready\r\n")
        os.write(ours, b"awaitly-nb show user:2\t")
        read_until(b"awaitly-nb show user:22 ")
        os.write(ours, b"\x15awaitly-nb show user:tw\t")
        read_until(b"awaitly-nb show user:two\\ words ")
        os.write(ours, b"| grep -o true\n")
        read_until(b"\r\n")
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)


def test_a_script_for_each_shell():
    for shell in ("bash", "zsh", "fish"):
        done = CliRunner().invoke(app, ["completion", shell], catch_exceptions=False)
        assert done.exit_code == 0
        assert "_AWAITLY_NB_COMPLETE" in done.output
