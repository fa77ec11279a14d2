"""Who can wait for the state store while it is away.

A request is answered at once: it cannot be done now, try again. What the service does by itself, as driving a workflow, has
nobody who would try again: it waits until the store is back. Tasks with an owner are such work, and whatever they start.
"""

from contextvars import Context, ContextVar, copy_context

_WAITS: ContextVar[bool] = ContextVar("waits", default=False)


def waits() -> bool:
    """Return whether what runs now can wait for as long as it takes."""
    return _WAITS.get()


def patient_context() -> Context:
    """Return a copy of the context of now for work that can wait."""
    context = copy_context()
    context.run(_WAITS.set, True)
    return context
