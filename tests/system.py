"""Programs of the system that some checks need, and how to get them: by apt-get as root on Debian, else not at all."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Program:
    """A program, how to see that it is there, and the Debian package that brings it."""

    package: str
    check: str
    commands: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def present(self) -> bool:
        """Tell whether it is there."""
        return any(map(shutil.which, self.commands)) or any(any(Path("/").glob(f)) for f in self.files)


PROGRAMS = (
    Program("chromium", "browser", commands=("chromium", "chromium-browser", "google-chrome")),
    # A browser without any font draws boxes, and the screenshot is for people.
    Program("fonts-dejavu-core", "browser", files=("usr/share/fonts/truetype/*/*.ttf", "Library/Fonts/*.ttf")),
    Program("postgresql", "services", commands=("initdb",), files=("usr/lib/postgresql/*/bin/initdb",)),
    Program("redis-server", "services", commands=("redis-server",)),
)


def provide(checks: list[str], say) -> None:
    """Install what `checks` need where that is possible, and tell in one line per check what is missing otherwise."""
    missing = [p for p in PROGRAMS if p.check in checks and not p.present]
    if missing and shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        names = [p.package for p in missing]
        say(f"installing {', '.join(names)} with apt-get")
        _apt("update")
        _apt("install", "-y", "--no-install-recommends", *names)
        missing = [p for p in missing if not p.present]
    for check in dict.fromkeys(p.check for p in missing):
        names = " ".join(p.package for p in missing if p.check == check)
        say(f"{check}: tests that need {names} are skipped; to run them: sudo apt-get install {names}")


def _apt(*arguments: str) -> None:
    # A failure shows itself by what is still missing after; its output says why.
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["apt-get", "-q", *arguments], check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=quiet
    )
    if done.returncode:
        print(done.stdout + done.stderr, flush=True)
