"""A server for one command: the one that is named or runs here, else one that lives as long as the command."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from jitflow.cli.connect import client_of, find, own
from jitflow.cli.loading import load
from jitflow.client import Client


@contextmanager
def any_server(server: str = "") -> Iterator[Client]:
    """Give a client of a server."""
    found = find(server)
    if found is not None:
        with client_of(found, server) as client:
            yield client
        return
    # The display owns the terminal: of the server's own log only errors are worth a line, unless somebody asks for more.
    load("jitflow.telemetry").configure(level=os.environ.get("JITFLOW_LOG_LEVEL") or "error")
    with load("jitflow.bootstrap.local").serve_in_thread() as info, Client(own(info)) as client:
        yield client
