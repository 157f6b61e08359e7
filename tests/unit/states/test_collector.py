"""The collector, fed with events by hand; what runs feed it is in the conformance cases."""

import threading
from datetime import UTC, datetime, timedelta

import awaitly_nb as aw
from awaitly_nb import events
from awaitly_nb.result import Mark, with_mark
from awaitly_nb.states.resume_state import content_of

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
RUN = {"run_id": "run", "workflow": "report"}


def complete(key, result, *, at=AT, step_id="step"):
    return events.StepComplete(**RUN, at=at, step_id=step_id, step_key=key, result=result, duration_s=0.5)


def hit(key, result, *, source, at=AT, computed_at=None):
    return events.StepCacheHit(
        **RUN,
        at=at,
        step_id="step",
        step_key=key,
        result=result,
        source=source,
        computed_at=computed_at,
        computed_s=9.0,
    )


def start(resumed):
    return events.WorkflowStart(**RUN, at=AT, resumed=resumed)


def collected(*given):
    collector = aw.create_resume_state_collector()
    for event in given:
        collector.handle_event(event)
    return collector.get_resume_state()


def test_only_ends_and_hits_of_keyed_steps_count():
    state = collected(
        events.StepStart(**RUN, at=AT, step_id="a", step_key="a"),
        events.StepSuccess(**RUN, at=AT, step_id="a", step_key="a", result=aw.Ok(1), duration_s=1.0),
        complete(None, aw.Ok(2)),
        hit(None, aw.Ok(3), source="cache"),
        complete("b", aw.Ok(4)),
        events.WorkflowSuccess(**RUN, at=AT, duration_s=1.0),
    )
    assert list(state.steps) == ["b"]
    assert state.steps["b"] == aw.StepEntry(aw.Ok(4), "step", AT, 0.5)


def test_the_time_of_a_result_is_when_it_was_computed():
    marked = with_mark(aw.Ok(1), Mark(at=AT - timedelta(seconds=1)))
    assert collected(complete("a", marked)).steps["a"].at == AT - timedelta(seconds=1)
    long_ago = AT - timedelta(days=3)
    entry = collected(hit("a", aw.Ok(1), source="cache", computed_at=long_ago)).steps["a"]
    assert (entry.at, entry.duration_s) == (long_ago, 9.0)


def test_it_begins_with_the_state_in_force_and_keeps_its_entries():
    resumed = aw.ResumeState({"a": aw.StepEntry(aw.Ok(1), "step", AT, 1.0), "b": aw.StepEntry(aw.Err("E"))})
    state = collected(start(resumed), hit("a", aw.Ok(1), source="resumed"), complete("c", aw.Ok(3)))
    assert list(state.steps) == ["a", "b", "c"]
    assert state.steps["a"] is resumed.steps["a"]


def test_hits_of_this_run_change_nothing():
    state = collected(complete("a", aw.Ok(1)), hit("a", aw.Ok(1), source="run", at=AT + timedelta(seconds=5)))
    assert state.steps["a"].at == AT


def test_a_hit_of_the_cache_is_taken_where_it_is_news():
    earlier = collected(complete("a", aw.Err("E")))
    later = AT + timedelta(seconds=1)
    assert earlier.failed_keys() == ["a"]
    state = collected(complete("a", aw.Err("E")), hit("a", aw.Ok(2), source="cache", computed_at=later))
    assert state.steps["a"].result == aw.Ok(2)


def test_an_outcome_is_later_than_the_one_it_follows_whatever_the_clock_says():
    state = collected(complete("a", aw.Err("E")), complete("a", aw.Ok(1), at=AT - timedelta(hours=1)))
    assert state.steps["a"].result == aw.Ok(1)
    assert state.steps["a"].at > AT


def test_what_without_took_out_is_remembered_until_it_is_computed_again():
    resumed = aw.ResumeState({"a": aw.StepEntry(aw.Ok(1), "step", AT + timedelta(hours=1))}).without("a")
    collector = aw.create_resume_state_collector()
    collector.handle_event(start(resumed))
    assert list(content_of(collector.get_resume_state()).removed) == ["a"]
    collector.handle_event(complete("a", aw.Ok(2)))
    state = collector.get_resume_state()
    assert content_of(state).removed == {}
    assert state.steps["a"].at > AT + timedelta(hours=1)


def test_states_are_independent_and_share_their_entries():
    collector = aw.create_resume_state_collector()
    collector.handle_event(complete("a", aw.Ok(1)))
    early = collector.get_resume_state()
    collector.handle_event(complete("b", aw.Ok(2)))
    late = collector.get_resume_state()
    collector.clear()
    assert (list(early.steps), list(late.steps), len(collector.get_resume_state())) == (["a"], ["a", "b"], 0)
    assert early.steps["a"] is late.steps["a"]


def test_a_state_that_is_taken_costs_no_copy():
    collector = aw.create_resume_state_collector()
    for number in range(100):
        collector.handle_event(complete(f"{number}", aw.Ok(number)))
    one, other = collector.get_resume_state(), collector.get_resume_state()
    assert content_of(one).log is content_of(other).log


def test_several_threads_may_feed_it():
    collector = aw.create_resume_state_collector()

    def feed(who):
        for number in range(200):
            collector.handle_event(complete(f"{who}:{number}", aw.Ok(number)))

    threads = [threading.Thread(target=feed, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(collector.get_resume_state()) == 800
