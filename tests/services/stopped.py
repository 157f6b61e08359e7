"""Runs that another process stops, as a program: `python stopped.py OPEN LEDGER`.

For each id that is read from its input it begins a run, and prints `paying` from inside of the payment, or `between`
before that step begins; then it waits for a line. At the end of a run it prints the name of the error's type, or `Ok`.
"""

import os
import sys

import awaitly_nb as aw

opening, ledger_path = sys.argv[1:3]
ledger = os.open(ledger_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def tell(where):
    print(where, flush=True)
    sys.stdin.readline()


def started(line, where=None):
    os.write(ledger, f"{line}\n".encode())
    if where is not None:
        tell(where)


store = eval(opening, {"aw": aw})
for line in sys.stdin:
    state_id, where = line.split()

    def body(ctx, where=where):
        ctx.step("fetch", started, "first fetches", key="fetch")
        if where == "between":
            tell("between")
        ctx.step("pay", started, "first pays", "paying" if where == "paying" else None, key="pay")
        ctx.step("mail", started, "first mails", key="mail")

    result = aw.create_workflow("stopped", cache=None).run_sync(body, store=store, id=state_id)
    print("Ok" if result.ok else type(result.error).__name__, flush=True)
store.blocking.close()
