"""The blocking driver: carries out a step's effects in the calling thread, and touches no event loop."""

from __future__ import annotations

import time
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

from awaitly_nb.engine.effects import TIMED_OUT, Effect, Invoke, Pause, Save, Wait
from awaitly_nb.engine.interrupts import uninterrupted
from awaitly_nb.engine.step import perform
from awaitly_nb.executors import THREAD, check_may_block, in_private_loop, is_awaitable, resolve
from awaitly_nb.result import Err, Ok

if TYPE_CHECKING:
    from awaitly_nb.engine.options import StepSpec
    from awaitly_nb.engine.run import Run
    from awaitly_nb.result import Result

__all__ = ["drive"]


def drive(run: Run, spec: StepSpec) -> Result[Any, Any]:
    """Carry out one step of `run`, blocking, and return its result."""
    steps = perform(run, spec)
    if isinstance(steps, Ok | Err):
        return steps
    try:
        effect = next(steps)
        while True:
            try:
                answer = _carry_out(effect)
            except BaseException as exc:  # noqa: BLE001 - handed to the step, which decides; nothing is swallowed here
                effect = steps.throw(exc)
            else:
                effect = steps.send(answer)
    except StopIteration as stop:
        result: Result[Any, Any] = stop.value
        return result


def _carry_out(effect: Effect) -> Any:  # Any: each effect has its own answer
    match effect:
        case Invoke():
            return _invoke(effect)
        case Save(fn):
            with uninterrupted():
                return fn()
        case Pause(seconds):
            return time.sleep(seconds)
        case Wait(future):
            wait([future])
            return None


def _invoke(call: Invoke) -> Any:  # Any: the user's value
    spec = call.spec
    executor = resolve(spec.executor)
    if executor is None and spec.timeout_s is None:
        value = spec.fn(*spec.args, **spec.kwargs)
        return in_private_loop(value, None)[0] if is_awaitable(value) else value
    check_may_block(executor)
    started = time.monotonic()
    future = (executor or THREAD).submit(spec.fn, *spec.args, **spec.kwargs)
    try:
        wait([future], timeout=spec.timeout_s)
        if not future.done():
            return TIMED_OUT
        value = future.result()
    finally:
        future.cancel()
        call.took_s = getattr(future, "took_s", None)
    if not is_awaitable(value):
        return value
    left = None if spec.timeout_s is None else max(0.0, spec.timeout_s - (time.monotonic() - started))
    value, timed_out = in_private_loop(value, left)
    return TIMED_OUT if timed_out else value
