"""What a bulk transfer costs: charged to its job's namespace as it is told, never twice."""

from jitflow.ports.bulk import BulkOrder, BulkProgress
from jitflow.ports.spending import Spending


class Bill:
    """Charges for one order: bytes come from its source and go to its destination, but what a store copied within itself."""

    def __init__(self, spending: Spending, namespace: str, order: BulkOrder) -> None:
        """Charge a namespace."""
        self._spending = spending
        self._namespace = namespace
        self._order = order
        self._bytes = 0
        self._files = 0
        self.spent = ""
        """Why nothing more may move, in words; empty: it may."""

    def pay(self, progress: BulkProgress) -> None:
        """Charge what has moved since it was told last."""
        count = max(0, progress.moved_bytes - progress.within_bytes)
        more, files = max(0, count - self._bytes), max(0, progress.files_done - self._files)
        self._bytes, self._files = max(count, self._bytes), max(progress.files_done, self._files)
        source, destination = self._order.source.remote, self._order.destination
        if destination is None:
            self._spending.moved(self._namespace, source, requests=files)
            return
        if more or files:
            self._spending.moved(self._namespace, source, down=more, requests=files)
            self._spending.moved(self._namespace, destination.remote, up=more, requests=files)
        if more:
            self.spent = self._spending.used_up(self._namespace)
