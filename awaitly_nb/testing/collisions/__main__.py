"""`python -m awaitly_nb.testing.collisions`: run the battery on this package's own fingerprint, and print the table."""

from __future__ import annotations

import json
import sys
from collections import Counter

from awaitly_nb.keys import fingerprint
from awaitly_nb.testing.collisions import Verdict, check, groups


def main(arguments: list[str]) -> int:
    """Print the table, or with `--keys` every key as JSON; return 1 where a pair failed."""
    outcomes = list(check(fingerprint))
    if arguments == ["--keys"]:
        print(json.dumps({f"{o.group}: {o.name}": [o.left, o.right, o.versioned] for o in outcomes}))  # noqa: T201
    else:
        print("\n".join(table(outcomes)))  # noqa: T201
    return 0 if all(outcome.passed for outcome in outcomes) else 1


def table(outcomes: list[Verdict]) -> list[str]:
    """Return the lines of the table: one per pair, its group before, the sums after."""
    lines: list[str] = []
    for group in groups():
        if group.missing:
            lines.append(f"{group.name}: left out, needs {', '.join(group.missing)}")
            continue
        lines.append(f"{group.name}:")
        lines += [_line(outcome) for outcome in outcomes if outcome.group == group.name]
    count = Counter((outcome.agree, outcome.passed) for outcome in outcomes)
    lines += [
        "",
        f"must differ: {count[False, True]} of {count[False, True] + count[False, False]} do",
        f"must agree:  {count[True, True]} of {count[True, True] + count[True, False]} do",
    ]
    return lines


def _line(outcome: Verdict) -> str:
    verdict = "ok  " if outcome.passed else "FAIL"
    relation = "=" if outcome.agree else "#"
    return f"  {verdict} {relation} {outcome.name}{'  ' + outcome.error if outcome.error else ''}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
