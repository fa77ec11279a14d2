"""Lines of logs."""

from msgspec import Struct


class LogEntry(Struct, frozen=True, rename="camel"):
    """A line and the pod that wrote it."""

    content: str
    pod_name: str
