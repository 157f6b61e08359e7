"""Acceptance test number one: the crash-recovery example of the reference page, line by line, crashing twice.

A workflow fetches a user, pays, and sends a confirmation, with a checkpoint after each of the first two. It crashes
after the payment, is resumed, crashes again before its first checkpoint or later, and is resumed again. The payment
is made exactly once, and every checkpoint on the way holds every finished step.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import awaitly_nb as aw


@dataclass(frozen=True)
class User:
    """The user whom the example fetches."""

    id: str
    email: str


@dataclass(frozen=True)
class Payment:
    """What the example's payment comes to."""

    id: str
    amount: int


class Crash(BaseException):
    """The process is gone: nothing of the library may catch it, nothing after it may run."""


class FileStore:
    """The smallest store: one file of JSON per id."""

    def __init__(self, folder):
        self._folder = folder

    async def save(self, workflow_id, state):
        (self._folder / f"{workflow_id}.json").write_text(state.to_json())

    async def load(self, workflow_id):
        file = self._folder / f"{workflow_id}.json"
        return aw.ResumeState.from_json(file.read_text()) if file.exists() else None

    async def close(self):
        pass


class World:
    """What lies outside of the process: it outlives each crash, and counts what was done to it."""

    def __init__(self):
        self.done = []

    async def fetch_user(self, user_id):
        self.done.append("fetch_user")
        return aw.ok(User(user_id, "ada@example.org"))

    async def process_payment(self, user_id, amount):
        self.done.append("process_payment")
        return aw.ok(Payment(f"pay-{user_id}", amount))

    async def send_confirmation(self, email, payment_id):
        self.done.append("send_confirmation")
        return aw.ok(None)

    def deps(self):
        return {
            "fetch_user": self.fetch_user,
            "process_payment": self.process_payment,
            "send_confirmation": self.send_confirmation,
        }


KEYS = {"fetch_user": "user:1", "process_payment": "payment:1", "send_confirmation": "confirm:pay-1"}
PLACES = [
    "before user",
    "after user",
    "after checkpoint 1",
    "after payment",
    "after checkpoint 2",
    "after confirmation",
]
SCRIPT = [
    *("before user", "fetch_user", "after user", "save", "after checkpoint 1"),
    *("process_payment", "after payment", "save", "after checkpoint 2"),
    *("send_confirmation", "after confirmation", "save"),
]
"""The example as a list: what it does, and where it may crash."""


def told_by_the_script(*crashes):
    """Return what is done to the world when processes crash at these places, one after the other."""
    done, saved = [], []
    for crash in crashes:
        held = list(saved)
        for word in SCRIPT:
            if word == crash:
                break
            if word == "save":
                saved = list(held)
            elif word in KEYS and word not in held:
                done.append(word)
                held.append(word)
    return done


async def run_with_recovery(store, world, workflow_id, crash_at=None):
    def maybe_crash(place):
        if place == crash_at:
            raise Crash(place)

    async def checkpoint():
        state = collector.get_resume_state()
        await store.save(workflow_id, state)
        stored = await store.load(workflow_id)
        finished = {*saved_before, *(KEYS[step] for step in world.done[done_before:])}
        assert {key for key in finished if stored.is_complete(key)} == finished

    saved_state = await store.load(workflow_id)
    saved_before, done_before = [] if saved_state is None else list(saved_state.steps), len(world.done)
    collector = aw.create_resume_state_collector()
    workflow = aw.create_workflow("workflow", world.deps(), cache=None, on_event=collector.handle_event)

    async def body(ctx):
        maybe_crash("before user")
        user = await ctx.step("fetch_user", lambda: ctx.deps.fetch_user("1"), key="user:1")
        maybe_crash("after user")
        await checkpoint()
        maybe_crash("after checkpoint 1")
        payment = await ctx.step(
            "process_payment", lambda: ctx.deps.process_payment(user.id, 100), key=f"payment:{user.id}"
        )
        maybe_crash("after payment")
        await checkpoint()
        maybe_crash("after checkpoint 2")
        await ctx.step(
            "send_confirmation",
            lambda: ctx.deps.send_confirmation(user.email, payment.id),
            key=f"confirm:{payment.id}",
        )
        maybe_crash("after confirmation")
        return user, payment

    result = await workflow.run(body, resume_state=saved_state)
    await checkpoint()
    return result


@pytest.fixture(params=["file", "sqlite"])
def new_store(request, tmp_path):
    """A factory of handles on one and the same store, as each process opens its own."""

    def open_store():
        return FileStore(tmp_path) if request.param == "file" else aw.sqlite(tmp_path / "states.db")

    return open_store


def process(new_store, world, crash_at):
    """Play one process: open the store, run, and either finish or crash."""

    async def main():
        store = new_store()
        try:
            return await run_with_recovery(store, world, "wf-123", crash_at)
        finally:
            await store.close()

    if crash_at is None:
        return asyncio.run(main())
    with pytest.raises(Crash, match=crash_at):
        asyncio.run(main())
    return None


def load(new_store):
    async def main():
        store = new_store()
        try:
            return await store.load("wf-123")
        finally:
            await store.close()

    return asyncio.run(main())


@pytest.mark.parametrize(("first", "second"), list(itertools.product(PLACES, PLACES)))
def test_two_crashes_at_any_two_places_then_a_run_to_the_end(new_store, first, second):
    world = World()
    process(new_store, world, first)
    process(new_store, world, second)
    assert process(new_store, world, None) == aw.Ok((User("1", "ada@example.org"), Payment("pay-1", 100)))
    # A step that a crash separated from its checkpoint is the only one that may be repeated.
    assert world.done == told_by_the_script(first, second, None)
    final = load(new_store)
    assert list(final.steps) == list(KEYS.values())
    assert all(final.is_complete(key) for key in KEYS.values())


def test_the_payment_is_made_exactly_once(new_store):
    """The crash of the reference page: after the payment's checkpoint, then again before any checkpoint."""
    world = World()
    process(new_store, world, "after checkpoint 2")
    process(new_store, world, "before user")
    process(new_store, world, "after checkpoint 1")
    process(new_store, world, None)
    process(new_store, world, None)
    assert world.done == ["fetch_user", "process_payment", "send_confirmation"]


@pytest.mark.parametrize(("first", "second"), list(itertools.product(PLACES, PLACES)))
def test_the_one_liner_checkpoints_after_every_step_so_no_crash_repeats_any(tmp_path, mode, first, second):
    done = []

    def process_one_liner(crash_at):
        store = aw.sqlite(tmp_path / "states.db")

        def maybe_crash(place):
            if place == crash_at:
                raise Crash(place)

        def do(step):
            done.append(step)
            return f"{step} done"

        def body(ctx):
            maybe_crash("before user")
            user = yield ctx.step("fetch_user", do, "fetch_user", key="user:1")
            maybe_crash("after user")
            maybe_crash("after checkpoint 1")
            payment = yield ctx.step("process_payment", do, "process_payment", key="payment:1")
            maybe_crash("after payment")
            maybe_crash("after checkpoint 2")
            yield ctx.step("send_confirmation", do, "send_confirmation", key="confirm:pay-1")
            maybe_crash("after confirmation")
            return user, payment

        workflow = aw.create_workflow("workflow", None, cache=None)
        try:
            if crash_at is None:
                return mode.run(workflow, body, store=store, id="wf-123")
            with pytest.raises(Crash):
                mode.run(workflow, body, store=store, id="wf-123")
        finally:
            asyncio.run(store.close())
        return None

    process_one_liner(first)
    process_one_liner(second)
    assert process_one_liner(None) == aw.Ok(("fetch_user done", "process_payment done"))
    assert done == list(KEYS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a program of forks")
@pytest.mark.parametrize("seed", [1, 2])
def test_a_payment_that_returned_is_never_paid_again_however_runs_are_stopped(tmp_path, seed):
    """Two hundred runs, each stopped for longer than its lease, killed, or misled by the clock, at a random point."""
    program = Path(__file__).with_name("payments.py")
    command = [sys.executable, "-W", "error", program, tmp_path, "200", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["runs"] >= 200
    assert all(counts[what] >= 10 for what in ("stop", "kill", "jump", "jump back", "lost", "orders")), counts
    returned, calls = set(), 0
    for line in (tmp_path / "ledger").read_text().splitlines():
        order, what, number = line.split()
        if what == "called":
            assert (order, number) not in returned, line
            calls += 1
        else:
            returned.add((order, number))
    assert len(returned) == 3 * counts["orders"]
    assert calls > len(returned)  # some were under way when their run was stopped or killed: that is what remains
