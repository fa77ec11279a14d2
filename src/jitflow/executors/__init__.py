"""Run pods on this machine: in a sandbox of their own, or as plain processes."""

from jitflow.executors._doctor import Check, doctor
from jitflow.executors._pods import PodExecutor
from jitflow.executors.process import ProcessExecutor
from jitflow.executors.sandbox import SandboxExecutor

__all__ = ["Check", "PodExecutor", "ProcessExecutor", "SandboxExecutor", "doctor"]
