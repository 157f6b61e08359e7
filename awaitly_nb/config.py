"""Settings, and where they come from: `configure()`, then `AWAITLY_NB_*`, then the project's file, then the user's.

Hides the files, the environment and the platform's folders from all other modules, which see one frozen `Settings`.
A project folder may be somebody else's, so it can make checks stricter but never looser. Imports nothing heavy, and
tomllib only where a file is there to be read.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Never

from awaitly_nb.errors import InvalidOptionError, MisuseError
from awaitly_nb.frozen import Frozen
from awaitly_nb.units import did_you_mean, parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import timedelta
    from types import EllipsisType

__all__ = [
    "Setting",
    "Settings",
    "cache_directory",
    "configure",
    "explain",
    "generation",
    "identity_path",
    "secret_path",
    "settings",
    "settled",
    "stamp_of_folder",
    "trusted_keys_path",
    "trusted_secrets_path",
    "user_directory",
]

_APP = "awaitly_nb"
_FOLDER = ".awaitly"
_STARTED_IN: Final = Path.cwd()
"""Where the process began to use this package: a later `os.chdir` in some cell must not move the cache."""


class Settings(Frozen, kw_only=True):
    """What is in force; see `explain` for where each value comes from.

    Attributes
    ----------
    cache_dir
        Folder of the default disk cache, or None for the rules of `cache_directory`.
    ttl
        Seconds for which entries of the default cache are served; None means for ever.
    size_limit
        Bytes that the default cache may hold; None means no bound, and nothing is ever evicted.
    verify
        `"on"` treats an entry that fails verification as absent, `"strict"` raises, `"off"` trusts the folder.
    track_files
        Whether files read by a step count as its inputs.
    cache_errors
        Which failures are cached: `"returned"`, `"all"` or `"none"`.
    executor
        Where steps run when nobody says otherwise.
    mmap
        Whether large values are read back through a private memory map.
    progress
        Whether a cell or run that takes long shows a line about it.
    auto
        Whether notebooks cache plain cells that are worth it by themselves.
    auto_min
        Seconds that a plain cell must take to be worth storing.
    auto_budget
        Bytes that automatic mode may store; None means a fifth of what is free on the disk.
    auto_network
        Seconds for which automatic mode serves what read the network; None means that such cells always run.
    remote
        Address of a store behind the default cache, whose entries are served where their signer is trusted.
    remote_write
        Who writes to it: `"never"`, `"push"` (`awaitly-nb push`), or `"always"`, as CI does.
    remote_wait
        Seconds that it has for an answer; one that does not answer is left alone for a while.
    """

    cache_dir: Path | None = None
    ttl: float | None = None
    size_limit: int | None = None
    verify: Literal["on", "strict", "off"] = "on"
    track_files: bool = True
    cache_errors: Literal["returned", "all", "none"] = "returned"
    executor: str = "inline"
    mmap: bool = True
    progress: bool = True
    auto: bool = False
    auto_min: float = 1.0
    auto_budget: int | None = None
    auto_network: float | None = None
    remote: str | None = None
    remote_write: Literal["never", "push", "always"] = "never"
    remote_wait: float = 0.5


class Setting(Frozen):
    """One setting with its value and where that came from, as `%awaitly config` shows it."""

    name: str
    value: object
    source: str


_DEFAULTS: Final = Settings()
_SECRETS = frozenset({"secret", "trusted_secrets", "trust"})

_configured: dict[str, object] = {}
_memo: tuple[object, Settings] | None = None
_generation = 0


def configure(
    *,
    cache_dir: str | os.PathLike[str] | EllipsisType | None = ...,
    ttl: float | timedelta | str | EllipsisType | None = ...,
    size_limit: int | str | EllipsisType | None = ...,
    verify: Literal["on", "strict", "off"] | EllipsisType | None = ...,
    track_files: bool | EllipsisType | None = ...,
    cache_errors: Literal["returned", "all", "none"] | EllipsisType | None = ...,
    executor: str | EllipsisType | None = ...,
    mmap: bool | EllipsisType | None = ...,
    progress: bool | EllipsisType | None = ...,
    auto: bool | EllipsisType | None = ...,
    auto_min: float | timedelta | str | EllipsisType | None = ...,
    auto_budget: int | str | EllipsisType | None = ...,
    auto_network: float | timedelta | str | EllipsisType | None = ...,
    remote: str | EllipsisType | None = ...,
    remote_write: Literal["never", "push", "always"] | EllipsisType | None = ...,
    remote_wait: float | timedelta | str | EllipsisType | None = ...,
    **unknown: Never,
) -> None:
    """Set defaults for this process; they win over the environment and over every file.

    What is not given stays as it is; None means the built-in default.

    Parameters
    ----------
    cache_dir
        Folder of the default disk cache.
    ttl
        How long entries of the default cache are served: seconds, a timedelta or text such as "7d".
    size_limit
        Bound on the default cache: bytes, or text such as "20GB".
    verify
        `"on"` treats an entry that fails verification as absent, `"strict"` raises, `"off"` trusts the folder.
    track_files
        Whether files read by a step count as its inputs.
    cache_errors
        Which failures are cached: `"returned"`, `"all"` or `"none"`.
    executor
        Where steps run when nobody says otherwise, such as `"inline"` or `"thread"`.
    mmap
        Whether large values are read back through a private memory map.
    progress
        Whether a cell or run that takes long shows a line about it.
    auto
        Whether notebooks cache plain cells that are worth it by themselves.
    auto_min
        Seconds that a plain cell must take to be worth storing.
    auto_budget
        Bytes that automatic mode may store; None means a fifth of what is free on the disk.
    auto_network
        How long automatic mode serves what read the network; None means that such cells always run.
    remote
        Address of a store behind the default cache, such as `"s3://bucket/prefix"`: what is missing here is taken from
        there where its signer is trusted.
    remote_write
        Who writes to it: `"never"`, `"push"` (`awaitly-nb push`), or `"always"`, as CI does.
    remote_wait
        How long it has to answer; one that does not is left alone for a while.
    **unknown
        Any other name is refused, and the nearest setting is named.

    Raises
    ------
    MisuseError
        There is no such setting.
    InvalidOptionError
        A value is out of its range; nothing is changed then.

    Examples
    --------
    >>> import awaitly_nb as aw
    >>> aw.configure(ttl="7d")
    >>> aw.configure(ttl=None)
    """
    given = {
        "cache_dir": cache_dir,
        "ttl": ttl,
        "size_limit": size_limit,
        "verify": verify,
        "track_files": track_files,
        "cache_errors": cache_errors,
        "executor": executor,
        "mmap": mmap,
        "progress": progress,
        "auto": auto,
        "auto_min": auto_min,
        "auto_budget": auto_budget,
        "auto_network": auto_network,
        "remote": remote,
        "remote_write": remote_write,
        "remote_wait": remote_wait,
    }
    for name in unknown:
        raise MisuseError(
            f"configure({name}=...): unknown setting; {did_you_mean(name, _PARSERS)} there are {', '.join(_PARSERS)}"
        )
    global _memo, _generation  # noqa: PLW0603 - settings are one per process by nature
    parsed = {}
    for name, value in given.items():
        if value is ...:
            continue
        default = getattr(_DEFAULTS, name)
        parsed[name] = default if value is None else _PARSERS[name](value, name, Path.cwd())
    _configured.update(parsed)
    _memo = None
    _generation += 1


def generation() -> int:
    """Return a number that is new after each `configure()`, for those who keep what they made of the settings."""
    return _generation


def settings() -> Settings:
    """Return the settings in force: some microseconds, because files are read again only when one of them changed."""
    global _memo  # noqa: PLW0603 - settings are one per process by nature
    look = _look.get()
    stamp = (*_variables(), *(_file_stamps() if look is None else look.files))
    if _memo is None or _memo[0] != stamp:
        found = {name: value for name, (value, _) in _resolve().items()}
        _memo = (stamp, Settings(**found))
    return _memo[1]


def stamp_of_folder() -> object:
    """Return what changes when AWAITLY_NB_CACHE_DIR does; a call of a decorated function asks for it, hit or miss."""
    raw = getattr(os.environ, "_data", None)  # as below
    return os.environ.get(_CACHE_DIR) if raw is None else raw.get(_RAW_CACHE_DIR)


def _variables() -> Iterator[object]:
    # The bytes themselves: names are looked up at each call, and encoding them took as long as all the rest. Whoever
    # has put a plain dict in the place of the environment has none.
    raw = getattr(os.environ, "_data", None)
    return map(os.environ.get, _VARIABLES) if raw is None else map(raw.get, _RAW_VARIABLES)


class _Look:
    """What one look at the files found."""

    __slots__ = ("files", "folder")

    def __init__(self, files: tuple[object, ...]) -> None:
        self.files = files
        self.folder: tuple[Settings, Path] | None = None


_look: ContextVar[_Look | None] = ContextVar("awaitly_nb_look", default=None)


@contextmanager
def settled(*, on: bool = True) -> Iterator[None]:
    """Look at the files of settings once, not again before this block ends; variables and `configure` count at once.

    Parameters
    ----------
    on
        False for a part of such a block that may change the files, as code of the user does.
    """
    token = _look.set(_Look(tuple(_file_stamps())) if on else None)
    try:
        yield
    finally:
        _look.reset(token)


def explain() -> list[Setting]:
    """Return every setting with its value and where that came from."""
    return [Setting(name, _shown(name, value), source) for name, (value, source) in _resolve().items()]


def _shown(name: str, value: object) -> object:
    """Return a value as people may see it: an address without its password."""
    if name != "remote" or not isinstance(value, str) or "://" not in value:
        return value
    scheme, _, rest = value.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def cache_directory(start: Path | None = None) -> Path:
    """Return the folder of the default disk cache; it need not exist yet.

    `cache_dir` where it is set; else `.awaitly` beside the nearest `pyproject.toml` or `.git`, going up from `start`;
    else `.awaitly` in `start`; and where that cannot be written, a folder of its own in the user's cache directory.

    Parameters
    ----------
    start
        Where to begin; by default the notebook's folder.
    """
    chosen, look = settings(), _look.get()
    if chosen.cache_dir is not None:
        return chosen.cache_dir
    if start is not None:
        return _folder_at(Path(start).absolute())
    if look is None:
        return _folder_at(_start())
    if look.folder is None or look.folder[0] is not chosen:
        look.folder = chosen, _folder_at(_start())
    return look.folder[1]


def _folder_at(start: Path) -> Path:
    home = _nearest(start, "pyproject.toml", ".git") or start
    folder = home / _FOLDER
    if os.access(folder if folder.exists() else home, os.W_OK | os.X_OK):
        return folder
    # Named after the place it stands for, so that two read-only projects never share one folder.
    digest = hashlib.blake2b(os.fsencode(home), digest_size=4).hexdigest()
    return _user_place("cache") / f"{home.name or 'root'}-{digest}"


def user_directory() -> Path:
    """Return the user's own folder for settings and secrets; never inside a project."""
    return _user_place("config")


def _user_place(kind: Literal["config", "cache"]) -> Path:
    """Return the folder that the platform has for a user's settings or caches."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home raises where there is none
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / _APP
        return base / "Cache" if kind == "cache" else base
    chosen = os.environ.get(f"XDG_{kind.upper()}_HOME", "").strip()
    if os.path.isabs(chosen):  # noqa: PTH117 - of a text
        return Path(chosen) / _APP
    if sys.platform == "darwin":
        return home / "Library" / ("Caches" if kind == "cache" else "Application Support") / _APP
    return home / f".{kind}" / _APP


def secret_path() -> Path:
    """Return the file of the user's signing secret."""
    return user_directory() / "secret"


def identity_path() -> Path:
    """Return the file of the user's private key, which signs what leaves the machine."""
    return user_directory() / "identity"


def trusted_keys_path() -> Path:
    """Return the file of the public keys of others that the user trusts."""
    return user_directory() / "trusted_keys.json"


def trusted_secrets_path() -> Path:
    """Return the file of the secrets of others that the user trusts."""
    return user_directory() / "trusted_secrets"


def _start() -> Path:
    # A Jupyter server names the notebook of a kernel it starts; processes started by that kernel inherit the name.
    if (notebook := os.environ.get("JPY_SESSION_NAME")) and "ipykernel" in sys.modules:
        folder = Path(notebook).parent
        if folder.is_absolute() and folder.is_dir():
            return folder
    return _STARTED_IN


@lru_cache(maxsize=64)
def _nearest(start: Path, *names: str) -> Path | None:
    # Remembered, so that a file that appears later does not move the cache of a running kernel.
    return next((d for d in (start, *start.parents) if any((d / name).exists() for name in names)), None)


def _project_file() -> Path | None:
    folder = _nearest(_start(), "pyproject.toml")
    return folder and folder / "pyproject.toml"


def _file_stamps() -> Iterator[object]:
    for path in (_project_file(), _user_file()):
        try:
            yield path and (path, os.stat(path).st_mtime_ns)  # noqa: PTH116 - half the time of Path.stat
        except OSError:
            yield None


def _user_file() -> Path:
    return _user_file_under(os.environ.get("XDG_CONFIG_HOME"), os.environ.get("HOME"))


@lru_cache(maxsize=8)
def _user_file_under(*homes: str | None) -> Path:  # noqa: ARG001 - the variables that decide where it lies
    return user_directory() / "config.toml"


def _resolve() -> dict[str, tuple[Any, str]]:  # Any: each setting has its own type
    found: dict[str, tuple[Any, str]] = {name: (getattr(_DEFAULTS, name), "default") for name in _PARSERS}
    user = _user_file()
    found |= _from_file(user, _table(user), str(user))
    if (project := _project_file()) is not None:
        found |= _from_project(project)
    for name, variable in zip(_PARSERS, _VARIABLES, strict=True):
        if text := os.environ.get(variable):
            found[name] = (_PARSERS[name](text, variable, _start()), variable)
    found |= {name: (value, "configure()") for name, value in _configured.items()}
    _check_bound(found, project)
    return found


def _check_bound(found: Mapping[str, tuple[Any, str]], project: Path | None) -> None:
    """Raise InvalidOptionError where a project bounds a folder beyond itself: that would remove what others keep."""
    (limit, source), (folder, _) = found["size_limit"], found["cache_dir"]
    if project is None or folder is None or source != _source_of(project):
        return
    if not folder.resolve().is_relative_to(project.parent.resolve()):
        raise InvalidOptionError(
            f"{source}: size_limit = {limit} may not come from a project whose results are stored outside of it, in "
            f"{folder}, because it would remove what others keep there; set it in {_user_file()}, "
            "by AWAITLY_NB_SIZE_LIMIT, or by aw.configure()"
        )


def _from_file(path: Path, table: dict[str, Any], source: str) -> dict[str, tuple[Any, str]]:
    found = {}
    for name, value in table.items():
        if name not in _PARSERS:
            raise InvalidOptionError(
                f"{source}: unknown setting {name!r}; {did_you_mean(name, _PARSERS)} there are {', '.join(_PARSERS)}"
            )
        found[name] = (_PARSERS[name](value, f"{source}: {name}", path.parent), source)
    return found


def _from_project(path: Path) -> dict[str, tuple[Any, str]]:
    table = _table(path).get("tool", {}).get(_APP, {})
    source = _source_of(path)
    # Whoever wrote the folder's files wrote its cache too: it may ask for more care, never for less. It may name a
    # remote to read from, since of that only what a trusted signer signed is used; what is sent there is not its word.
    least = {"verify": "strict", "remote_write": "never"}
    loose = [name for name, word in least.items() if table.get(name, word) != word]
    if _SECRETS & table.keys() or loose:
        refused = ", ".join([*sorted(_SECRETS & table.keys()), *(f"{name} = {table[name]!r}" for name in loose)])
        raise InvalidOptionError(
            f"{source}: {refused} may not come from a project; set it in {_user_file()}, "
            "by an AWAITLY_NB_* variable, or by aw.configure()"
        )
    return _from_file(path, table, source)


def _source_of(project: Path) -> str:
    return f"{project} [tool.{_APP}]"


def _table(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidOptionError(f"cannot read settings from {path}: {exc}") from exc
    if path.name == "pyproject.toml" and _APP not in text:
        return {}
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise InvalidOptionError(f"cannot read settings from {path}: {exc}") from exc


def _path(value: object, name: str, folder: Path) -> Path:
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise InvalidOptionError(f"{name}={value!r} is no folder; give a path")
    return folder.absolute() / Path(value).expanduser()


def _address(value: object, name: str, folder: Path) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidOptionError(f"{name} is no address of a store; give a path, or s3://bucket/prefix")
    return value if "://" in value else str(_path(value, name, folder))


def _duration(value: Any, name: str, folder: Path) -> float:  # noqa: ARG001 - parsers share one signature
    return parse_duration(_number(value), name=name)


def _size(value: Any, name: str, folder: Path) -> int:  # noqa: ARG001 - parsers share one signature
    return parse_size(value, name=name)


def _number(value: Any) -> Any:  # Any: as it came
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _switch(value: object, name: str, folder: Path) -> bool:  # noqa: ARG001 - parsers share one signature
    word = str(value).strip().lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off"}:
        return False
    raise InvalidOptionError(f"{name}={value!r} is neither true nor false")


def _one_of(*words: str) -> Callable[[object, str, Path], str]:
    def parse(value: object, name: str, folder: Path) -> str:  # noqa: ARG001 - parsers share one signature
        if value not in words:
            raise InvalidOptionError(f"{name}={value!r} is none of {', '.join(map(repr, words))}")
        return str(value)

    return parse


def _word(value: object, name: str, folder: Path) -> str:  # noqa: ARG001 - parsers share one signature
    if not isinstance(value, str) or not value:
        raise InvalidOptionError(f'{name}={value!r} is no name of an executor, such as "inline" or "thread"')
    return value


_PARSERS: Final[dict[str, Callable[[Any, str, Path], Any]]] = {  # Any: each setting has its own type
    "cache_dir": _path,
    "ttl": _duration,
    "size_limit": _size,
    "verify": _one_of("on", "strict", "off"),
    "track_files": _switch,
    "cache_errors": _one_of("returned", "all", "none"),
    "executor": _word,
    "mmap": _switch,
    "progress": _switch,
    "auto": _switch,
    "auto_min": _duration,
    "auto_budget": _size,
    "auto_network": _duration,
    "remote": _address,
    "remote_write": _one_of("never", "push", "always"),
    "remote_wait": _duration,
}
_VARIABLES: Final = tuple(f"AWAITLY_NB_{name.upper()}" for name in _PARSERS)
_RAW_VARIABLES: Final = tuple(map(os.environ.encodekey, _VARIABLES))
_CACHE_DIR: Final = "AWAITLY_NB_CACHE_DIR"
_RAW_CACHE_DIR: Final = os.environ.encodekey(_CACHE_DIR)
