"""`python -m tests docs`: the documentation site in `build/docs`, where a warning is an error.

The site's folder, README and notebooks are first laid side by side, because links lead from one to the others: on the
repository's own pages and on the site alike.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Build the site and return the exit code."""
    source, site = ROOT / "build" / "docs-source", ROOT / "build" / "docs"
    for folder in (source, site):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / ".github" / "docs", source)
    shutil.copytree(ROOT / "notebooks", source / "notebooks", ignore=shutil.ignore_patterns(".*"))
    for page in source.rglob("*.md"):
        page.write_text(page.read_text(encoding="utf-8").replace("](../../", "]("), encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (source / "README.md").write_text(readme.replace("](.github/docs/", "]("), encoding="utf-8")
    options = ["--quiet", "--fail-on-warning", "--keep-going", "--jobs", "2", "--builder", "html"]
    return subprocess.run([sys.executable, "-m", "sphinx", *options, source, site], check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
