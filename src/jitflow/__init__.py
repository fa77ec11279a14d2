"""jitflow: just-in-time execution of Argo workflows."""

__version__ = "0.1.0"
