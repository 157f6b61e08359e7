"""Opens stores together with others, as a program: each line of its input is an expression that opens one.

Prints `ready`, uses the store when another line comes, and prints `ok` or what went wrong. A line that begins with
`connected` asks for the store's time before: that connects, and makes no table yet.
"""

import os
import sys

import awaitly_nb as aw

who = str(os.getpid())
for line in sys.stdin:
    how, _, opening = line.strip().partition(" ")
    store = eval(opening, {"aw": aw})
    if how == "connected":
        store.records.now()
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        store.blocking.save(who, aw.ResumeState().with_value("who", who))
        assert store.blocking.load(who).steps["who"].result == aw.Ok(who)
        store.blocking.close()
        print("ok", flush=True)
    except Exception as exc:  # told to the test
        print(f"{type(exc).__name__}: {exc}".replace("\n", " "), flush=True)
