"""One step: decide, look up, lock, call, record, emit. The only place that emits step events.

`decide` holds the rules, `step` the course of one step as a generator of effects, `drive` and `drive_async` carry the
effects out, `run` is the state that the steps of one run share. Knows nothing of notebooks.
"""
