"""What namespaces move and spend: counted by day and remote, compared with their budgets, written down a moment later.

A day of a namespace is one document that holds sums: written again, it replaces itself, so that nothing counts twice whatever is
killed when. What is charged waits a moment for more, so that many transfers cost one write.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

import msgspec

from jitflow.dataplane.tasks import Owner
from jitflow.model.problems import Refused
from jitflow.model.spending import Budget, BudgetView, Prices, Spent, money_fault
from jitflow.ports.clock import Clock
from jitflow.ports.errors import PortError, Retryable
from jitflow.ports.store import StateStore
from jitflow.telemetry.metrics import Figures, Labels, by

SPENT: Final = "spent"
BUDGETS: Final = "budget"
PRICES: Final = "prices"
ALL: Final = "*"
"""Stands for each namespace of which nothing else is said."""
KEPT_DAYS: Final = 400
PAUSE_S: Final = 0.2
"""So long what was charged may wait for more before it is written."""
_LOOK_EVERY_S = 30.0
"""Clocks may be set: what waits for the next period looks at least so often."""
_DAY_S = 86_400

log = logging.getLogger("jitflow.dataplane")


@dataclass
class _Used:
    """What a namespace has used in the period that begins on day `first` and ends at `resets_at`."""

    first: str
    resets_at: float
    moved: int = 0
    money: dict[str, float] = field(default_factory=dict[str, float])


class SpendingKeeper:
    """Implements `SpendingAdmin`. `open` it before use."""

    def __init__(
        self,
        store: StateStore,
        clock: Clock,
        *,
        prices: Mapping[str, Prices] | None = None,
        budgets: Mapping[str, Budget] | None = None,
        free: frozenset[str] = frozenset(),
    ) -> None:
        """Keep it in `store`; `prices` and `budgets` of the settings; what moves from and to `free` remotes does not count."""
        self._store = store
        self._clock = clock
        self._settled = (dict(prices or {}), dict(budgets or {}))
        self._free = free
        self._said_prices: dict[str, Prices] = {}
        self._said_budgets: dict[str, Budget] = {}
        self._days: dict[tuple[str, str], dict[tuple[str, str], Spent]] = {}
        """By namespace and day: what was spent, by remote and currency."""
        self._used: dict[str, _Used] = {}
        self._shut: dict[str, str] = {}
        """Namespaces that have used a budget up, and which."""
        self._today: tuple[float, str] = (float("-inf"), "")
        self._told: list[Callable[[str], None]] = []
        self._changed: set[tuple[str, str]] = set()
        self._since_start: dict[tuple[str, str, str], tuple[int, int, float]] = {}
        """Bytes down and up, and money, by namespace, remote and currency."""
        self._dirty = asyncio.Event()
        self._saving = asyncio.Lock()
        self._owner = Owner(_task_failed)
        self._watched = False

    # -- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Read what was spent and said, and begin to write."""
        oldest = _day_of(self._clock.now() - KEPT_DAYS * _DAY_S)
        gone: list[tuple[str, None]] = []
        for key, body in await self._store.items(SPENT):
            namespace, _, day = key.partition("/")
            if day < oldest:
                gone.append((key, None))
                continue
            rows = msgspec.json.decode(body, type=list[Spent])
            self._days[namespace, day] = {(row.remote, row.currency): row for row in rows}
        if gone:
            await self._store.put(SPENT, gone)
        self._said_prices = {key: msgspec.json.decode(body, type=Prices) for key, body in await self._store.items(PRICES)}
        self._said_budgets = {key: msgspec.json.decode(body, type=Budget) for key, body in await self._store.items(BUDGETS)}
        for namespace in self._known():
            self._judge(namespace)
        self._owner.start(self._write(), "write what was spent")

    async def close(self) -> None:
        """Write what is not written yet."""
        await self._owner.close()
        with suppress(PortError):
            await self._save()

    # -- charging -----------------------------------------------------------------------------------------------------

    def moved(self, namespace: str, remote: str, *, down: int = 0, up: int = 0, requests: int = 0) -> None:
        """See `Spending.moved`."""
        if remote in self._free:
            return
        used, prices = self._of(namespace), self.prices(remote)
        money, currency = prices.of(down=down, up=up, requests=requests), prices.currency
        day = self._day()
        rows = self._days.setdefault((namespace, day), {})
        row = rows.get((remote, currency))
        rows[remote, currency] = Spent(
            namespace=namespace,
            day=day,
            remote=remote,
            down_bytes=down + (row.down_bytes if row else 0),
            up_bytes=up + (row.up_bytes if row else 0),
            requests=requests + (row.requests if row else 0),
            money=money + (row.money if row else 0.0),
            currency=currency,
        )
        self._changed.add((namespace, day))
        self._dirty.set()
        used.moved += down + up
        before = self._since_start.get((namespace, remote, currency), (0, 0, 0.0))
        self._since_start[namespace, remote, currency] = (before[0] + down, before[1] + up, before[2] + money)
        if money:
            used.money[currency] = used.money.get(currency, 0.0) + money
        if self._budget(namespace)[0].is_limited:
            self._judge(namespace)

    def _of(self, namespace: str) -> _Used:
        """Return what a namespace has used in the present period, summed up anew where another one has begun."""
        used, now = self._used.get(namespace), self._clock.now()
        if used is not None and now < used.resets_at and self._day() >= used.first:
            return used
        first, resets_at = _period(now, self._budget(namespace)[0])
        used = self._used[namespace] = _Used(first=first, resets_at=resets_at)
        for (owner, day), rows in self._days.items():
            if owner == namespace and day >= first:
                for row in rows.values():
                    used.moved += row.down_bytes + row.up_bytes
                    if row.money:
                        used.money[row.currency] = used.money.get(row.currency, 0.0) + row.money
        return used

    def _day(self) -> str:
        """Return the day of now; looked up, for it is asked for with every transfer."""
        now = self._clock.now()
        if not self._today[0] <= now < self._today[0] + _DAY_S:
            self._today = (now // _DAY_S * _DAY_S, _day_of(now))
        return self._today[1]

    # -- budgets ------------------------------------------------------------------------------------------------------

    def used_up(self, namespace: str) -> str:
        """See `Spending.used_up`."""
        return self._shut.get(namespace, "")

    def _budget(self, namespace: str) -> tuple[Budget, str]:
        """Return what a namespace may spend, and who has said so."""
        said, settled = self._said_budgets, self._settled[1]
        for name in (namespace, ALL):
            for table, source in ((said, "api"), (settled, "settings")):
                if name in table:
                    return table[name], source
        return Budget(), ""

    def _judge(self, namespace: str) -> None:
        """Compare what a namespace has used with what it may, and tell if that is another answer than before."""
        budget, used = self._budget(namespace)[0], self._of(namespace)
        text = _over(budget, used, namespace) if budget.is_limited else ""
        before = self._shut.pop(namespace, "")
        if text:
            self._shut[namespace] = text
        if bool(before) != bool(text):
            if text:
                log.warning("%s", text)
                self._watch()
            for told in list(self._told):
                told(namespace)

    def _watch(self) -> None:
        """See to it that namespaces go on when their next period begins."""
        if not self._watched:
            self._watched = True
            self._owner.start(self._look_on(), "wait for the next period of budgets")

    async def _look_on(self) -> None:
        while self._shut:
            left = min(self._of(namespace).resets_at for namespace in self._shut) - self._clock.now()
            await self._clock.sleep(min(_LOOK_EVERY_S, max(0.05, left)))
            for namespace in list(self._shut):
                self._judge(namespace)
        self._watched = False

    def subscribe(self, told: Callable[[str], None]) -> Callable[[], None]:
        """See `Spending.subscribe`."""
        self._told.append(told)
        return lambda: self._told.remove(told)

    # -- what people see and set --------------------------------------------------------------------------------------

    def prices(self, remote: str) -> Prices:
        """See `Spending.prices`."""
        return self._said_prices.get(remote) or self._settled[0].get(remote) or _FREE

    def spent(self, *, namespace: str = "", since: str = "", until: str = "") -> Sequence[Spent]:
        """See `SpendingAdmin.spent`."""
        first, last = _checked(since, "since"), _checked(until, "until")
        found = (
            row
            for (owner, day), rows in self._days.items()
            if (not namespace or owner == namespace) and first <= day and (not last or day <= last)
            for row in rows.values()
        )
        return sorted(found, key=lambda row: (row.namespace, row.day, row.remote, row.currency))

    def budgets(self) -> Sequence[BudgetView]:
        """See `SpendingAdmin.budgets`."""
        return [self._view(namespace) for namespace in sorted(self._known())]

    def _known(self) -> set[str]:
        named = {*self._said_budgets, *self._settled[1]} - {ALL}
        return named | {namespace for namespace, _ in self._days}

    def _view(self, namespace: str) -> BudgetView:
        (budget, source), used = self._budget(namespace), self._of(namespace)
        return BudgetView(
            namespace=namespace,
            period=budget.period,
            moved_bytes=used.moved,
            budget_bytes=budget.moved_bytes,
            money=dict(used.money),
            budget_money=dict(budget.money),
            resets_at=used.resets_at,
            used_up=self.used_up(namespace),
            source=source,
        )

    async def set_budgets(self, budgets: Mapping[str, Budget | None]) -> Sequence[BudgetView]:
        """See `SpendingAdmin.set_budgets`."""
        for namespace, budget in budgets.items():
            fault = budget_fault(budget) if budget is not None else ""
            if fault:
                raise Refused(f"budget of namespace {namespace[:80]}: {fault}")
        rows = [(key, msgspec.json.encode(one) if one is not None else None) for key, one in budgets.items()]
        await self._store.put(BUDGETS, rows)
        for namespace, budget in budgets.items():
            if budget is None:
                self._said_budgets.pop(namespace, None)
            else:
                self._said_budgets[namespace] = budget
        self._used.clear()
        for namespace in self._known() | self._shut.keys():
            self._judge(namespace)
        return self.budgets()

    async def set_prices(self, remote: str, prices: Prices | None) -> None:
        """See `SpendingAdmin.set_prices`."""
        fault = prices.fault() if prices is not None else ""
        if fault:
            raise Refused(f"prices of remote {remote[:80]}: {fault}")
        await self._store.put(PRICES, [(remote, msgspec.json.encode(prices) if prices is not None else None)])
        if prices is None:
            self._said_prices.pop(remote, None)
        else:
            self._said_prices[remote] = prices

    def figures(self) -> Figures:
        """Return what was spent since the start, and who waits, for metrics."""
        moved: dict[Labels, float] = {}
        money: dict[Labels, float] = {}
        for (namespace, remote, currency), (down, up, spent) in self._since_start.items():
            who = (("namespace", namespace), ("remote", remote))
            for way, count in (("down", down), ("up", up)):
                label = (*who, ("direction", way))
                moved[label] = moved.get(label, 0.0) + count
            if currency:
                money[(*who, ("currency", currency))] = spent
        return {
            "jitflow_moved_bytes_total": list(moved.items()),
            "jitflow_spent_money_total": list(money.items()),
            "jitflow_budget_used_up": by("namespace", {one.namespace: float(bool(one.used_up)) for one in self.budgets()}),
        }

    # -- writing ------------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        while True:
            await self._dirty.wait()
            await self._clock.sleep(PAUSE_S)
            try:
                await self._save()
            except Retryable as error:
                log.warning("what was spent could not be written and is written later: %s", error)
                self._dirty.set()

    async def _save(self) -> None:
        async with self._saving:
            self._dirty.clear()
            changed, self._changed = self._changed, set()
            try:
                if changed:
                    await self._store.put(SPENT, list(self._documents(changed)))
            except BaseException:
                self._changed |= changed
                raise

    def _documents(self, keys: set[tuple[str, str]]) -> Iterator[tuple[str, bytes]]:
        for namespace, day in keys:
            yield f"{namespace}/{day}", msgspec.json.encode(list(self._days[namespace, day].values()))


_FREE: Final = Prices()


def budget_fault(budget: Budget) -> str:
    """Return what is wrong with a budget, empty if nothing is."""
    if budget.moved_bytes is not None and budget.moved_bytes < 0:
        return f"{budget.moved_bytes} is no number of bytes: write 0 or more"
    return money_fault(budget.money)


def _over(budget: Budget, used: _Used, namespace: str) -> str:
    """Return which budget is used up, and until when, in words."""
    if budget.moved_bytes is not None and used.moved >= budget.moved_bytes:
        which = f"{budget.moved_bytes:,} bytes moved"
    else:
        spent = (f"{most:g} {currency}" for currency, most in budget.money.items() if used.money.get(currency, 0.0) >= most)
        which = next(spent, "")
    if not which:
        return ""
    until = f"{datetime.fromtimestamp(used.resets_at, UTC):%Y-%m-%d %H:%M} UTC"
    return (
        f"namespace {namespace} has used up its budget of {which} for this {budget.period}; it goes on at {until}, "
        f"or when the budget is raised (jitflow data budgets {namespace})"
    )


def _period(now: float, budget: Budget) -> tuple[str, float]:
    """Return the first day of the period of a moment, and when the next one begins."""
    today = datetime.fromtimestamp(now, UTC).date()
    if budget.period == "day":
        first, after = today, today + timedelta(days=1)
    else:
        first = today.replace(day=1)
        after = (first + timedelta(days=32)).replace(day=1)
    return first.isoformat(), datetime(after.year, after.month, after.day, tzinfo=UTC).timestamp()


def _day_of(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


def _checked(day: str, name: str) -> str:
    try:
        return date.fromisoformat(day).isoformat() if day else ""
    except ValueError:
        raise Refused(f"{name} is {day[:40]!r}, which is no day; write it as 2026-11-28") from None


def _task_failed(error: BaseException) -> None:
    log.error("what namespaces spend is not written any more", exc_info=error)
