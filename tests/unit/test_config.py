"""Settings: each source wins over the next, a project may never loosen a check, and the cache stays where it was."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import awaitly_nb.config as config
from awaitly_nb.errors import InvalidOptionError, MisuseError


@pytest.fixture(autouse=True)
def _own_places(tmp_path, monkeypatch):
    """A user, a project and a process of this test's own."""
    for name in list(os.environ):
        if name.startswith("AWAITLY_NB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    monkeypatch.setattr(config, "_STARTED_IN", tmp_path / "project" / "notebooks")
    monkeypatch.setattr(config, "_configured", {})
    monkeypatch.setattr(config, "_memo", None)
    (tmp_path / "project" / "notebooks").mkdir(parents=True)


@pytest.fixture
def project(tmp_path):
    def write(text):
        (tmp_path / "project" / "pyproject.toml").write_text(text)
        config._nearest.cache_clear()

    return write


@pytest.fixture
def user(tmp_path):
    def write(text):
        folder = config.user_directory()
        assert tmp_path in folder.parents
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.toml").write_text(text)

    return write


def source_of(name):
    return {s.name: s.source for s in config.explain()}[name]


def test_defaults():
    assert config.settings() == config.Settings()
    assert {s.source for s in config.explain()} == {"default"}
    assert [s.name for s in config.explain()] == list(config.Settings.__slots__)


def test_each_source_wins_over_the_next(user, project, monkeypatch):
    user('ttl = "1d"\nsize_limit = "1GB"\ncache_errors = "all"\nexecutor = "thread"\n')
    assert (config.settings().ttl, source_of("ttl").endswith("config.toml")) == (86400.0, True)

    project('[tool.awaitly_nb]\nttl = "2d"\nsize_limit = "2GB"\ncache_errors = "none"\n')
    assert config.settings().ttl == 2 * 86400
    assert "[tool.awaitly_nb]" in source_of("ttl")

    monkeypatch.setenv("AWAITLY_NB_TTL", "3d")
    monkeypatch.setenv("AWAITLY_NB_SIZE_LIMIT", "3GB")
    assert (config.settings().ttl, source_of("ttl")) == (3 * 86400.0, "AWAITLY_NB_TTL")

    config.configure(ttl="4d")
    assert (config.settings().ttl, source_of("ttl")) == (4 * 86400.0, "configure()")
    assert config.settings() == config.Settings(
        ttl=4 * 86400.0, size_limit=3 * 10**9, cache_errors="none", executor="thread"
    )


def test_configure_none_is_the_default_even_over_the_environment(monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_TTL", "3d")
    config.configure(ttl=None)
    assert config.settings().ttl is None


def test_a_change_of_a_file_or_of_the_environment_is_seen_at_once(user, monkeypatch):
    user('executor = "thread"\n')
    assert config.settings().executor == "thread"
    user('executor = "process"\n')
    stamp = config._user_file().stat().st_mtime_ns
    os.utime(config._user_file(), ns=(stamp, stamp + 10**9))
    assert config.settings().executor == "process"
    monkeypatch.setenv("AWAITLY_NB_EXECUTOR", "inline")
    assert config.settings().executor == "inline"


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("AWAITLY_NB_TTL", "90", "ttl", 90.0),
        ("AWAITLY_NB_SIZE_LIMIT", "500 MB", "size_limit", 500_000_000),
        ("AWAITLY_NB_TRACK_FILES", "no", "track_files", False),
        ("AWAITLY_NB_MMAP", "0", "mmap", False),
        ("AWAITLY_NB_MMAP", "TRUE", "mmap", True),
        ("AWAITLY_NB_VERIFY", "off", "verify", "off"),
    ],
)
def test_the_environment_is_text_and_is_parsed(monkeypatch, variable, text, field, value):
    monkeypatch.setenv(variable, text)
    assert getattr(config.settings(), field) == value


@pytest.mark.parametrize(
    ("variable", "text"),
    [("TTL", "0"), ("TTL", "-1"), ("TTL", "nan"), ("SIZE_LIMIT", "lots"), ("VERIFY", "maybe"), ("MMAP", "perhaps")],
)
def test_a_bad_value_is_refused_and_names_its_source(monkeypatch, variable, text):
    monkeypatch.setenv(f"AWAITLY_NB_{variable}", text)
    with pytest.raises(InvalidOptionError, match=f"AWAITLY_NB_{variable}"):
        config.settings()


def test_configure_refuses_as_a_whole():
    with pytest.raises(InvalidOptionError, match="ttl"):
        config.configure(executor="thread", ttl=0)
    assert config.settings().executor == "inline"
    with pytest.raises(MisuseError, match="unknown setting; did you mean 'cache_dir'"):
        config.configure(executor="thread", cash_dir="x")
    assert config.settings().executor == "inline"


def test_configure_names_every_setting_in_its_signature():
    parameters = inspect.signature(config.configure).parameters
    named = {name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}
    assert named == {setting.name for setting in config.explain()}
    lines = inspect.getdoc(config.configure).splitlines()  # a newer Python has taken the indentation away already
    assert named <= set(lines)


@pytest.mark.parametrize("value", [1.5, True, "", b"x"])
def test_sizes_and_paths_that_are_none_are_refused(value):
    with pytest.raises(InvalidOptionError):
        config.configure(size_limit=value)
    with pytest.raises((InvalidOptionError, TypeError)):
        config.configure(cache_dir=value)


# --- a project is a stranger ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", ['verify = "off"', 'verify = "on"', 'secret = "x"', 'trusted_secrets = ["x"]', 'remote_write = "always"']
)
def test_security_settings_never_come_from_the_project_folder(project, line):
    project(f"[tool.awaitly_nb]\n{line}\n")
    with pytest.raises(InvalidOptionError, match="may not come from a project"):
        config.settings()


def test_a_remote_is_shown_without_its_password_and_a_project_may_name_one(project, tmp_path, monkeypatch):
    project('[tool.awaitly_nb]\nremote = "warm"\nremote_write = "never"\n')
    assert config.settings().remote == str(tmp_path / "project" / "warm")
    monkeypatch.setenv("AWAITLY_NB_REMOTE", "postgresql://ada:hun@ter2@db.example/runs?password=x")
    assert config.settings().remote.startswith("postgresql://ada:hun@ter2@")
    assert {s.name: s.value for s in config.explain()}["remote"] == "postgresql://db.example/runs"
    for value in (5, "", b"x"):
        with pytest.raises(InvalidOptionError, match="remote"):
            config.configure(remote=value)


def test_a_project_may_ask_for_more_care(project):
    project('[tool.awaitly_nb]\nverify = "strict"\n')
    assert config.settings().verify == "strict"


def test_the_user_may_turn_verification_off(user):
    user('verify = "off"\n')
    assert config.settings().verify == "off"


def test_a_typing_error_in_a_file_is_told_with_what_there_is(project, user):
    project('[tool.awaitly_nb]\ntime_to_live = "1d"\n')
    with pytest.raises(InvalidOptionError, match=r"pyproject\.toml.*'time_to_live'.*ttl"):
        config.settings()
    project("")
    user("ttl = \n")
    with pytest.raises(InvalidOptionError, match=r"config\.toml"):
        config.settings()


def test_a_broken_pyproject_that_does_not_name_us_is_not_our_business(project):
    project("[tool.other\n")
    assert config.settings() == config.Settings()


# --- where the cache lies ------------------------------------------------------------------------------------------


def test_the_cache_lies_beside_the_nearest_pyproject(project, tmp_path):
    project("")
    assert config.cache_directory() == tmp_path / "project" / ".awaitly"


def test_the_cache_lies_beside_the_nearest_git(tmp_path):
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "repo" / "a" / "b").mkdir(parents=True)
    assert config.cache_directory(tmp_path / "repo" / "a" / "b") == tmp_path / "repo" / ".awaitly"


def test_the_nearest_of_both_wins(tmp_path):
    inner = tmp_path / "repo" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "repo" / ".git").mkdir()
    (inner / "pyproject.toml").touch()
    assert config.cache_directory(inner) == inner / ".awaitly"


def test_without_a_project_the_cache_lies_beside_the_notebook(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "_nearest", lambda start, *names: None)
    assert config.cache_directory() == tmp_path / "project" / "notebooks" / ".awaitly"


def test_where_the_project_cannot_be_written_the_users_cache_is_taken(tmp_path, monkeypatch):
    homes = [tmp_path / "one" / "work", tmp_path / "two" / "work"]
    for home in homes:
        home.mkdir(parents=True)
        (home / "pyproject.toml").touch()
    monkeypatch.setattr(config.os, "access", lambda *_: False)  # a super-user may write everywhere
    folders = [config.cache_directory(home) for home in homes]
    assert all(tmp_path / "user-cache" in folder.parents for folder in folders)
    assert folders[0] != folders[1]
    assert config.cache_directory(homes[0]) == folders[0]


def test_relative_folders_belong_to_where_they_are_written(project, user, tmp_path, monkeypatch):
    user('cache_dir = "mine"\n')
    assert config.cache_directory() == config.user_directory() / "mine"
    project('[tool.awaitly_nb]\ncache_dir = "build/cache"\n')
    assert config.cache_directory() == tmp_path / "project" / "build" / "cache"
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", "here")
    assert config.cache_directory() == tmp_path / "project" / "notebooks" / "here"
    monkeypatch.chdir(tmp_path)
    config.configure(cache_dir="there")
    assert config.cache_directory() == tmp_path / "there"
    config.configure(cache_dir="~/there")
    assert config.cache_directory() == Path.home() / "there"


def test_changing_the_working_directory_does_not_move_the_cache(tmp_path, monkeypatch):
    before = config.cache_directory()
    monkeypatch.chdir(tmp_path)
    assert config.cache_directory() == before


def test_in_a_kernel_the_server_names_the_notebook(tmp_path, monkeypatch):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    monkeypatch.setenv("JPY_SESSION_NAME", str(folder / "some.ipynb"))
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert config.cache_directory() != folder / ".awaitly"  # a process that a kernel started is no kernel
    monkeypatch.setitem(sys.modules, "ipykernel", config)
    assert config.cache_directory() == folder / ".awaitly"


def test_secrets_lie_with_the_user_and_not_in_the_cache(tmp_path):
    assert config.secret_path().parent == config.trusted_secrets_path().parent == config.user_directory()
    assert config.cache_directory() not in config.secret_path().parents
    assert tmp_path / "user" in config.secret_path().parents


def test_importing_settings_loads_nothing_heavy():
    code = (
        "import sys, json, awaitly_nb.config;"
        "print(json.dumps([m for m in ('tomllib','platformdirs','asyncio','numpy','IPython') if m in sys.modules]))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert json.loads(out) == []


def test_a_project_bounds_only_what_lies_in_it(project, tmp_path, monkeypatch):
    project('[tool.awaitly_nb]\nsize_limit = "2KB"\ncache_dir = "kept"\n')
    assert config.settings().size_limit == 2000
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "mine"))
    with pytest.raises(InvalidOptionError, match="would remove what others keep there"):
        config.settings()
    monkeypatch.setenv("AWAITLY_NB_SIZE_LIMIT", "4KB")  # the user's own word
    assert config.settings().size_limit == 4000
    monkeypatch.delenv("AWAITLY_NB_CACHE_DIR")
    monkeypatch.delenv("AWAITLY_NB_SIZE_LIMIT")
    project(f'[tool.awaitly_nb]\nsize_limit = "2KB"\ncache_dir = "{tmp_path / "mine"}"\n')
    with pytest.raises(InvalidOptionError, match="would remove what others keep there"):
        config.settings()


def test_files_are_looked_at_once_in_a_settled_block_and_all_else_counts_at_once(project, monkeypatch):
    project("[tool.awaitly_nb]\nttl = 60\n")
    with config.settled():
        assert config.settings().ttl == 60
        project("[tool.awaitly_nb]\nttl = 600\n# another size, another time\n")
        assert config.settings().ttl == 60
        with config.settled(on=False):
            assert config.settings().ttl == 600
        monkeypatch.setenv("AWAITLY_NB_TTL", "7")
        assert config.settings().ttl == 7
        config.configure(ttl=8)
        assert config.settings().ttl == 8
        config.configure(ttl=...)
        monkeypatch.setattr(config, "_configured", {})
        monkeypatch.delenv("AWAITLY_NB_TTL")
    assert config.settings().ttl == 600


def test_the_folder_is_found_once_in_a_settled_block(tmp_path, monkeypatch):
    with config.settled():
        found = config.cache_directory()
        monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "elsewhere"))
        assert config.cache_directory() == tmp_path / "elsewhere"
        monkeypatch.delenv("AWAITLY_NB_CACHE_DIR")
        assert config.cache_directory() == found


def test_a_plain_dict_may_stand_for_the_environment(monkeypatch):
    monkeypatch.setattr(os, "environ", {**os.environ, "AWAITLY_NB_TTL": "9"})
    assert config.settings().ttl == 9
