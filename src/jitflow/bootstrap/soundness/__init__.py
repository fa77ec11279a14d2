"""Whether a state as a whole fits together, and what can be mended of it: `jitflow state verify` and `repair`."""

from jitflow.bootstrap.soundness.findings import Finding, Report, Scene
from jitflow.bootstrap.soundness.looking import look, mend

__all__ = ["Finding", "Report", "Scene", "look", "mend"]
