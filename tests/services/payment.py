"""The reference page's complete example as a program of its own, to be killed: `python payment.py OPEN LEDGER HOW`.

`OPEN` is an expression that opens the store. Each side effect is one line in the ledger file, written at once. `HOW` is
"by hand", with a collector and a save after each step as on that page, or "in one line". Prints `begun` when it begins,
so that whoever kills it knows from when on.
"""

import asyncio
import os
import sys

import awaitly_nb as aw

opening, ledger_path, how = sys.argv[1:4]
ledger = os.open(ledger_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note(line):
    os.write(ledger, f"{line}\n".encode())


async def fetch_user(user_id):
    note("called fetch_user")
    return {"id": user_id, "email": "ada@example.org"}


async def process_payment(user_id, amount):
    # What is measured: a kill between this side effect and the record of the step makes it happen twice.
    note("called process_payment")
    return {"id": f"pay-{user_id}", "amount": amount}


async def send_confirmation(email, payment_id):
    note("called send_confirmation")


async def run_by_hand(workflow, store, workflow_id):
    saved = await store.load(workflow_id)
    collector = aw.create_resume_state_collector()

    async def body(ctx):
        user = await ctx.step("fetch_user", lambda: ctx.deps.fetch_user("1"), key="user:1")
        await store.save(workflow_id, collector.get_resume_state())
        pay = lambda: ctx.deps.process_payment(user["id"], 100)  # noqa: E731 - as on the page
        payment = await ctx.step("process_payment", pay, key=f"payment:{user['id']}")
        await store.save(workflow_id, collector.get_resume_state())
        note("went on after the payment")
        send = lambda: ctx.deps.send_confirmation(user["email"], payment["id"])  # noqa: E731 - as on the page
        await ctx.step("send_confirmation", send, key=f"confirm:{payment['id']}")
        return user, payment

    result = await workflow.run(body, on_event=collector.handle_event, resume_state=saved)
    await store.save(workflow_id, collector.get_resume_state())
    return result


async def run_in_one_line(workflow, store, workflow_id):
    async def body(ctx):
        user = await ctx.step("fetch_user", ctx.deps.fetch_user, "1", key="user:1")
        payment = await ctx.step(
            "process_payment", ctx.deps.process_payment, user["id"], 100, key=f"payment:{user['id']}"
        )
        note("went on after the payment")
        await ctx.step(
            "send_confirmation",
            ctx.deps.send_confirmation,
            user["email"],
            payment["id"],
            key=f"confirm:{payment['id']}",
        )
        return user, payment

    return await workflow.run(body, store=store, id=workflow_id)


async def main():
    deps = {"fetch_user": fetch_user, "process_payment": process_payment, "send_confirmation": send_confirmation}
    workflow = aw.create_workflow("payment", deps, cache=None)
    run = {"by hand": run_by_hand, "in one line": run_in_one_line}[how]
    async with eval(opening, {"aw": aw}) as store:
        print("begun", flush=True)
        result = await run(workflow, store, "order-1")
    assert result.unwrap() == ({"id": "1", "email": "ada@example.org"}, {"id": "pay-1", "amount": 100}), result
    note("done")


asyncio.run(main())
