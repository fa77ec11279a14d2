"""Use-cases: the one door for the APIs and the command line."""

from jitflow.app.ports import Change, Engine, Remotes
from jitflow.app.service import Service
from jitflow.app.tokens import ensure_token
from jitflow.model.reports import RemoteInfo

__all__ = ["Change", "Engine", "RemoteInfo", "Remotes", "Service", "ensure_token"]
