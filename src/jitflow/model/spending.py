"""What moving bytes costs: prices of remotes, budgets of namespaces, and what was spent."""

import re
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

GB = 10**9
LONGEST_CURRENCY = 16
_CURRENCY = re.compile(r"[^\s/=,]{1,16}")

Period = Literal["day", "month"]


class Prices(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a far store asks for what comes from it (`down`) and goes to it (`up`), per 10^9 bytes, and for requests.

    `currency`: any short name, as EUR or credits.
    """

    price_per_GB_down: float = 0.0
    price_per_GB_up: float = 0.0
    price_per_1000_requests: float = 0.0
    currency: str = ""

    @property
    def is_free(self) -> bool:
        """Whether nothing costs anything."""
        return not (self.price_per_GB_down or self.price_per_GB_up or self.price_per_1000_requests)

    def of(self, *, down: int = 0, up: int = 0, requests: int = 0) -> float:
        """Return what so many bytes and requests cost."""
        bytes_ = down * self.price_per_GB_down + up * self.price_per_GB_up
        return bytes_ / GB + requests * self.price_per_1000_requests / 1000

    def fault(self) -> str:
        """Return what is wrong with these prices, empty if nothing is."""
        named = {
            "price_per_GB_down": self.price_per_GB_down,
            "price_per_GB_up": self.price_per_GB_up,
            "price_per_1000_requests": self.price_per_1000_requests,
        }
        for name, value in named.items():
            if not 0 <= value < float("inf"):
                return f"{name} = {value} is no price: write 0 or more"
        if self.is_free and not self.currency:
            return ""
        return currency_fault(self.currency)


class Budget(Struct, frozen=True, kw_only=True):
    """What a namespace may move and spend in each day or month of UTC.

    `moved_bytes` None: any amount. `money`: by currency; of those that are not named any amount.
    """

    moved_bytes: int | None = None
    money: dict[str, float] = {}
    period: Period = "month"

    @property
    def is_limited(self) -> bool:
        """Whether it limits anything."""
        return self.moved_bytes is not None or bool(self.money)


class Spent(Struct, frozen=True, kw_only=True):
    """What a namespace has moved from and to a remote on one day of UTC (`2026-11-28`), and what that has cost.

    `requests`: objects that were begun to be read or written. `money` in `currency`, by the prices of the time.
    """

    namespace: str
    day: str
    remote: str
    down_bytes: int = 0
    up_bytes: int = 0
    requests: int = 0
    money: float = 0.0
    currency: str = ""


class BudgetView(Struct, frozen=True, kw_only=True):
    """What a namespace has moved and spent in this period, and what it may (`budget_bytes` None: any amount).

    `resets_at`: when the next period begins. `used_up`: what there is no more of, in words; empty: its transfers go on.
    `source`: `settings`, `api`, or empty where there is no budget.
    """

    namespace: str
    period: Period = "month"
    moved_bytes: int = 0
    budget_bytes: int | None = None
    money: dict[str, float] = {}
    budget_money: dict[str, float] = {}
    resets_at: float = 0.0
    used_up: str = ""
    source: str = ""


def currency_fault(currency: str) -> str:
    """Return what is wrong with the name of a currency, empty if nothing is."""
    if _CURRENCY.fullmatch(currency):
        return ""
    return f"currency = {currency[:40]!r} is none: write a short name without spaces, for example EUR"


def money_fault(money: Mapping[str, float]) -> str:
    """Return what is wrong with amounts of money by currency, empty if nothing is."""
    for currency, amount in money.items():
        if fault := currency_fault(currency):
            return fault
        if not 0 <= amount < float("inf"):
            return f"{amount} {currency} is no amount: write 0 or more"
    return ""
