"""Who pays for what moves over links."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from jitflow.model.spending import Budget, BudgetView, Prices, Spent


class Spending(Protocol):
    """Charges namespaces for what moves for them, and says which of them have used their budgets up.

    What is charged is durable a moment later; who is killed loses what was charged in that moment, and never charges twice.
    """

    def moved(self, namespace: str, remote: str, *, down: int = 0, up: int = 0, requests: int = 0) -> None:
        """So many bytes have come from a remote (`down`) or gone there (`up`) for a namespace. Cheap: call it often."""
        ...

    def used_up(self, namespace: str) -> str:
        """Return which budget a namespace has used up, and until when it waits, in words; empty: it may go on."""
        ...

    def prices(self, remote: str) -> Prices:
        """Return what a remote asks."""
        ...

    def subscribe(self, told: Callable[[str], None]) -> Callable[[], None]:
        """Tell of each namespace that may go on again, or may not any more; call what is returned to hear no more."""
        ...


class Ledger(Protocol):
    """What was spent."""

    def spent(self, *, namespace: str = "", since: str = "", until: str = "") -> Sequence[Spent]:
        """Return what was spent, by namespace, day and remote; days `2026-11-28`, both included; empty: any.

        Raises:
            Refused: a day cannot be read.
        """
        ...


class SpendingAdmin(Spending, Ledger, Protocol):
    """What people see and set."""

    def budgets(self) -> Sequence[BudgetView]:
        """Return what each namespace that is known may spend and has spent in this period, by name."""
        ...

    async def set_budgets(self, budgets: Mapping[str, Budget | None]) -> Sequence[BudgetView]:
        """Give namespaces (`*`: each that is not named) these budgets; None: what the settings say. Durable when it returns.

        Raises:
            Refused: one cannot be.
        """
        ...

    async def set_prices(self, remote: str, prices: Prices | None) -> None:
        """Let a remote ask this from now on; None: what the settings say. Durable when it returns.

        Raises:
            Refused: they cannot be.
        """
        ...


class NoSpending:
    """Everything is free."""

    def moved(self, namespace: str, remote: str, *, down: int = 0, up: int = 0, requests: int = 0) -> None:
        """Charge nothing."""

    def used_up(self, namespace: str) -> str:
        """Return that everybody may go on."""
        del namespace
        return ""

    def prices(self, remote: str) -> Prices:
        """Return none."""
        del remote
        return Prices()

    def subscribe(self, told: Callable[[str], None]) -> Callable[[], None]:
        """Never tell anything."""
        del told
        return lambda: None

    def spent(self, *, namespace: str = "", since: str = "", until: str = "") -> Sequence[Spent]:
        """Return nothing."""
        del namespace, since, until
        return ()
