"""The control side's end of the link to a data service: the data plane and what is asked of it, over HTTP."""

from jitflow.datalink.channel import Channel
from jitflow.datalink.plane import LinkedDataPlane
from jitflow.datalink.view import LinkedFar, LinkedView, LinkedWitness

__all__ = ["Channel", "LinkedDataPlane", "LinkedFar", "LinkedView", "LinkedWitness"]
