"""The shell around the workflows' core: it stores what was decided, performs it, and turns what happens into events."""

from jitflow.engine.changes import Change
from jitflow.engine.engine import Engine
from jitflow.engine.images import Images
from jitflow.engine.locations import Locator, RemoteName, check_path, endpoint_names

__all__ = ["Change", "Engine", "Images", "Locator", "RemoteName", "check_path", "endpoint_names"]
