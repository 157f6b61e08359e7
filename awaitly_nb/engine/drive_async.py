"""The awaiting driver: carries out a step's effects on the running event loop. Only here has the engine asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from awaitly_nb.engine.calls import TIMED_OUT, Effect, Invoke, Pause, Save, Wait
from awaitly_nb.engine.lookup import Outcome
from awaitly_nb.engine.step import begin
from awaitly_nb.executors import THREAD, is_async_function, is_awaitable, resolve
from awaitly_nb.interrupts import interruptible, uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from awaitly_nb.engine.run import Run, StepSpec

__all__ = ["blocking", "end_tasks", "in_thread", "let_cancellation_in", "perform_async"]


async def perform_async(run: Run, spec: StepSpec) -> Outcome:
    """Do as `perform`, awaiting on the running event loop."""
    run.tasks.add(asyncio.current_task())
    await let_cancellation_in(run)
    steps = begin(run, spec)
    if isinstance(steps, Outcome):
        return steps
    try:
        effect = next(steps)
        while True:
            try:
                answer = await _carry_out(run, effect)
            except (KeyboardInterrupt, SystemExit) as exc:
                # Raised in a child task these would tear down the event loop, and with it the kernel; so they stop here
                # and are raised again from the run itself.
                effect = steps.throw(run.interrupted(exc))
            except _StoppedError as exc:
                effect = steps.throw(exc.raised)
            except BaseException as exc:  # noqa: BLE001 - handed to the step, which decides; nothing is swallowed here
                effect = steps.throw(exc)
            else:
                effect = steps.send(answer)
    except StopIteration as stop:
        outcome: Outcome = stop.value
        return outcome
    finally:
        steps.close()  # interrupted between two effects, it gives back what it holds


async def let_cancellation_in(run: Run) -> None:
    """Raise CancelledError if the current task was asked to cancel and has not heard of it, or did not listen.

    A step that only blocks gives the event loop no chance to deliver a cancellation, and the next step would start.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        await asyncio.sleep(0)
    if run.cancelled:
        raise asyncio.CancelledError


async def end_tasks(run: Run) -> None:
    """Cancel the tasks that still work on the run's steps, and wait until they have ended."""
    tasks = [task for task in run.tasks if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    # Gathering also takes note of their exceptions, which asyncio would else report as never retrieved.
    await asyncio.gather(*tasks, return_exceptions=True)


async def _carry_out(run: Run, effect: Effect) -> Any:  # Any: each effect has its own answer
    match effect:
        case Invoke():
            return await _heeding(run, effect)
        case Save(fn, is_heavy):
            return await in_thread(fn) if is_heavy() else uninterrupted(fn)
        case Pause(seconds):
            return await asyncio.sleep(seconds)
        case Wait(future):
            return await _done(future)


async def _heeding(run: Run, call: Invoke) -> Any:  # Any: the user's value
    """Call the step; when it swallows a cancellation and succeeds, use its result but end the run after it."""
    task = asyncio.current_task()
    asked = task.cancelling() if task is not None else 0
    value = await _invoke(call)
    if task is run.main_task and task is not None and task.cancelling() > asked:
        run.cancelled = True
    return value


async def _invoke(call: Invoke) -> Any:  # Any: the user's value
    spec = call.spec
    executor = resolve(spec.executor)
    if executor is None and spec.timeout_s is not None and not is_async_function(spec.fn):
        executor = THREAD
    try:
        async with asyncio.timeout(spec.timeout_s) as scope:
            if executor is not None:
                future = executor.submit(spec.fn, *spec.args, **spec.kwargs)
                try:
                    await _done(future)
                finally:
                    future.cancel()
                    call.took_s = getattr(future, "took_s", None)
                value = future.result()
            else:
                value = blocking(spec.fn, *spec.args, **spec.kwargs)
            return await value if is_awaitable(value) else value
    except StopIteration as exc:
        raise _StoppedError(exc) from None
    except TimeoutError:
        if scope.expired():
            return TIMED_OUT
        raise


class _StoppedError(Exception):
    """Carries a StopIteration out of a coroutine, where Python makes a RuntimeError of it."""

    def __init__(self, raised: StopIteration) -> None:
        super().__init__(raised)
        self.raised = raised


def blocking(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a blocking function on the event loop's own thread, where Stop would otherwise not reach it.

    Raises
    ------
    asyncio.CancelledError
        Stop was pressed; the loop has been told as well.
    """
    with interruptible() as interrupt:
        try:
            return fn(*args, **kwargs)
        except KeyboardInterrupt:
            if interrupt.pressed:
                raise asyncio.CancelledError from None
            raise


async def in_thread(fn: Callable[[], Any]) -> Any:  # Any: what the call returns
    """Call `fn` in a thread. When cancelled it finishes all the same, and only then does the cancellation go on."""
    future = THREAD.submit(fn)
    try:
        await _done(future)
    except asyncio.CancelledError:
        await asyncio.shield(_until(future))
        raise
    return future.result()


async def _until(future: Future[Any]) -> None:  # Any: whatever it holds
    while not future.done():
        try:
            await _done(future)
        except asyncio.CancelledError:
            continue


async def _done(future: Future[Any]) -> None:  # Any: whatever it holds
    """Wait for a future of another thread. Unlike `asyncio.wrap_future`, a cancelled waiter does not cancel it."""
    if future.done():
        return
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def woken(_: Future[Any]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(wake)

    future.add_done_callback(woken)
    await waiter
