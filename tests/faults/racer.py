"""One of those who race, as a program: `python racer.py FOLDER`.

Each line of its input is a kind of store and the number of a run; it waits for a second line, makes that run, and
prints as JSON how it ended. Each call of a step appends a line to the folder's ledger.
"""

import json
import os
import sys
import warnings

import awaitly_nb as aw

folder = sys.argv[1]
STEPS = 4
warnings.simplefilter("error")
ledger = os.open(f"{folder}/ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
states = aw.sqlite(f"{folder}/states.db")
workflows = {
    "folder": aw.create_workflow("races", cache=aw.create_disk_cache(f"{folder}/cache", namespace="races")),
    "shared": aw.create_workflow("races", cache=aw.create_shared_cache(aw.sqlite(f"{folder}/shared.db"))),
    "state": aw.create_workflow("races", cache=None),
}


def compute(kind, number, step):
    os.write(ledger, f"{kind} {number} {step}\n".encode())
    return {"number": number, "step": step, "pad": "x" * (10, 100_000)[step % 2]}


def run(kind, number):
    """Make one run; return what came of it."""

    def body(ctx):
        return [ctx.step("compute", compute, kind, number, step, key=f"{number}:{step}") for step in range(STEPS)]

    options = {"store": states, "id": f"run-{number}"} if kind == "state" else {}
    result = workflows[kind].run_sync(body, **options)
    if not result.ok and isinstance(result.error, aw.LeaseHeldError):
        return "held"
    assert [(value["number"], value["step"]) for value in result.unwrap()] == [(number, step) for step in range(STEPS)]
    return "ok"


for line in sys.stdin:
    kind, number = line.split()
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        ended = run(kind, int(number))
    except Exception as exc:  # told to the test
        ended = f"{type(exc).__name__}: {exc}"
    print(json.dumps(ended), flush=True)
