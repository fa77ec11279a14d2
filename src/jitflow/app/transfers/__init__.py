"""Transfer jobs: durable copies, syncs, moves, checks and deletions between far stores."""

from jitflow.app.transfers.queue import TransferJobs

__all__ = ["TransferJobs"]
