"""Run pods on this machine: in a sandbox of their own, or as plain processes."""

from jitflow.executors._doctor import Check, doctor
from jitflow.executors._pods import PodExecutor, discard_pods, write_lease
from jitflow.executors.process import ProcessExecutor
from jitflow.executors.sandbox import SandboxExecutor

__all__ = ["Check", "PodExecutor", "ProcessExecutor", "SandboxExecutor", "discard_pods", "doctor", "write_lease"]
