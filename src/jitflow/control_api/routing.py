"""From a request's path to its handler, in one pass whatever the number of routes.

Starlette tries one route after the other, each with a regular expression, behind middleware of its own; a busy server spends more
time there than in its handlers.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from inspect import iscoroutinefunction
from typing import Any, Final, cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from jitflow.control_api.direct import SAME
from jitflow.model.problems import Refused

Handler = Callable[[Request], Awaitable[ASGIApp]]
Guard = Callable[[Scope], None]
"""Sees a request, whose scope has its path's parameters, before its handler does; raises what it is refused with."""

ROUTE: Final = "jitflow.route"
"""Where a request's scope holds the pattern of its path."""
_KEPT: Final = "route"
"""The name under which the number of a route and its parameters are kept for a head (see `SAME`)."""
_MOST_KNOWN: Final = 1024
_LONGEST_KNOWN: Final = 256
"""So many paths of so many characters are known with their routes: programs ask for the same again and again."""
_PARAMETER: Final = re.compile(r"\{(\w+)(:path)?\}")


class _Leaf:
    """A route where its path ends. `order`: its place in the table, the first goes first. `rest`: it takes all that follows."""

    __slots__ = ("guard", "handler", "methods", "names", "order", "path", "rest")

    def __init__(self, route: Route, order: int, guard: Guard | None) -> None:
        assert iscoroutinefunction(route.endpoint), "handlers are coroutine functions"
        self.order = order
        self.path = route.path
        self.methods = frozenset(route.methods or ())
        self.handler = cast("Handler", route.endpoint)
        self.guard = guard
        parts = route.path.split("/")[1:]
        self.names: tuple[tuple[int, str], ...] = tuple(
            (index, found[1]) for index, part in enumerate(parts) if (found := _PARAMETER.fullmatch(part))
        )
        self.rest = parts[-1].endswith(":path}")

    def parameters(self, parts: Sequence[str]) -> dict[str, str]:
        values = {name: parts[index] for index, name in self.names}
        if self.rest:
            index, name = self.names[-1]
            values[name] = "/".join(parts[index:])
        return values


class _Branch:
    """What may follow a part of a path."""

    __slots__ = ("any", "leaves", "literal", "rest")

    def __init__(self) -> None:
        self.literal: dict[str, _Branch] = {}
        self.any: _Branch | None = None
        self.leaves: list[_Leaf] = []
        self.rest: list[_Leaf] = []

    def plant(self, parts: Sequence[str], leaf: _Leaf) -> None:
        head, *others = parts
        if head.endswith(":path}"):
            self.rest.append(leaf)
            return
        if _PARAMETER.fullmatch(head):
            self.any = below = self.any or _Branch()
        else:
            below = self.literal.setdefault(head, _Branch())
        if others:
            below.plant(others, leaf)
        else:
            below.leaves.append(leaf)

    def find(self, parts: Sequence[str], depth: int, found: list[_Leaf]) -> None:
        found += self.rest
        if depth == len(parts):
            found += self.leaves
            return
        part = parts[depth]
        below = self.literal.get(part)
        if below is not None:
            below.find(parts, depth + 1, found)
        if self.any is not None and part:
            self.any.find(parts, depth + 1, found)


class Dispatcher:
    """An ASGI application of routes: the first of the table that fits a request answers it."""

    def __init__(self, routes: Iterable[BaseRoute], guard_of: Callable[[Route], Guard | None]) -> None:
        """Take the table; `guard_of` says who stands before a route."""
        self.routes: tuple[Route, ...] = tuple(cast("Route", route) for route in routes)
        self._root = _Branch()
        self._leaves = [_Leaf(route, order, guard_of(route)) for order, route in enumerate(self.routes)]
        for leaf in self._leaves:
            self._root.plant(leaf.path.split("/")[1:], leaf)
        self._stamp = object()
        """What it keeps of heads is known by this, which holds on to nothing."""
        self._known: dict[str, tuple[list[str], list[_Leaf]]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            Refused, HTTPException: nothing is served at its path, or not with its method; or what guard and handler raise.
        """
        leaf = self._leaf(scope)
        if leaf.guard is not None:
            leaf.guard(scope)
        request = Request(scope, receive, send)
        answer: Any = await leaf.handler(request)
        await answer(scope, receive, send)

    def _leaf(self, scope: Scope) -> _Leaf:
        """Return the route of a request, and put into its scope what that says of it."""
        same: dict[str, Any] | None = scope.get(SAME)
        if same is not None:
            stamp, order, parameters = same.get(_KEPT, (None, 0, {}))
            if stamp is self._stamp:
                leaf = self._leaves[order]
                scope[ROUTE] = leaf.path
                scope["path_params"] = parameters.copy()
                return leaf
        leaf, parameters = self._found(scope["path"], scope["method"])
        scope[ROUTE] = leaf.path
        scope["path_params"] = parameters
        if same is not None:
            same[_KEPT] = (self._stamp, leaf.order, parameters.copy())
        return leaf

    def _found(self, path: str, method: str) -> tuple[_Leaf, dict[str, str]]:
        parts, found = self._known.get(path) or self._look_up(path)
        for leaf in found:
            if method in leaf.methods:
                return leaf, leaf.parameters(parts)
        if found:
            allowed = ", ".join(sorted({method for leaf in found for method in leaf.methods}))
            message = f"{method[:20]} is not served here, but {allowed}"
            raise HTTPException(405, message)
        raise Refused(f"there is nothing at {path[:200]}", code="not_found")

    def _look_up(self, path: str) -> tuple[list[str], list[_Leaf]]:
        """Return a path's parts and the routes that fit it, the first of the table first; short ones are kept for a while."""
        parts = path.split("/")[1:]
        found: list[_Leaf] = []
        self._root.find(parts, 0, found)
        found.sort(key=_order)
        if found and len(path) <= _LONGEST_KNOWN:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[path] = (parts, found)
        return parts, found


def _order(leaf: _Leaf) -> int:
    return leaf.order
