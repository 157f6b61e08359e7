"""Runs and steps as the panel is told of them, made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from awaitly_nb.engine.listeners import RunSummary, StepSummary

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def step(step_id="load", state="computed", seconds=0.0, **fields):
    at = NOW + timedelta(seconds=seconds)
    return StepSummary(step_id=step_id, step_key=f"{step_id}:1", state=state, at=at, **fields)


def run(*steps, run_id="r1", workflow="report", status="ok", seconds=0.0, **fields):
    return RunSummary(
        run_id=run_id,
        workflow=workflow,
        status=status,
        started_at=NOW + timedelta(seconds=seconds),
        steps=steps,
        **fields,
    )


def states(section):
    return {row["step"]: row["state"] for row in section["steps"]}
