"""A typed client of jitflow's HTTP APIs, sync and async over one core.

    from jitflow.client import Client

    with Client("http://127.0.0.1:2746", token="…") as client:
        made = client.workflows.create(manifest)
        done = client.workflows.wait(made.metadata.name)

`AsyncClient` has the same methods, to be awaited or iterated with `async for`.
"""

from jitflow.client._client import AsyncClient, Client
from jitflow.client._endpoint import Endpoint, endpoint_of
from jitflow.client._errors import (
    ApiError,
    ClientError,
    Conflict,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ServerFault,
    ServerLost,
    TooManyRequests,
    Unauthenticated,
    Unreadable,
    Untrusted,
    WaitTimeout,
)
from jitflow.client._logs import pod_name
from jitflow.client._requests import ALL, Page
from jitflow.client.artifacts import Piece
from jitflow.client.events import KubeEvent
from jitflow.client.objects import Rotated, SyncLimit
from jitflow.client.workflows import WatchEvent
from jitflow.model.logs import LogEntry

__all__ = [
    "ALL",
    "ApiError",
    "AsyncClient",
    "Client",
    "ClientError",
    "Conflict",
    "Endpoint",
    "InvalidRequest",
    "KubeEvent",
    "LogEntry",
    "NotFound",
    "Page",
    "PermissionDenied",
    "Piece",
    "Rotated",
    "ServerFault",
    "ServerLost",
    "SyncLimit",
    "TooManyRequests",
    "Unauthenticated",
    "Unreadable",
    "Untrusted",
    "WaitTimeout",
    "WatchEvent",
    "endpoint_of",
    "pod_name",
]
