"""Methods of resource groups, written once: what the sync client returns, the async client lets one await.

`@call` makes such a method of a function that builds a `Call`, `@script` of one that returns a script, `@stream` of one whose
script emits items. Which of the two kinds it is follows from the group's shell, for the type checker and at run time.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from jitflow.client._effects import Script
from jitflow.client._requests import Call
from jitflow.client._retry import exchange
from jitflow.client._shells import AsyncShell, SyncShell

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")
S = TypeVar("S", SyncShell, AsyncShell)


class Group(Generic[S]):
    """Methods about one kind of thing."""

    def __init__(self, shell: S, namespace: str) -> None:
        """`namespace`: where things are meant whose namespace is not said."""
        self._shell = shell
        self._namespace = namespace

    def _in(self, namespace: str) -> str:
        return namespace or self._namespace


class SyncCall(Generic[P, T]):
    """A method of the sync client."""

    def __init__(self, shell: SyncShell, build: Callable[P, Call[T]]) -> None:
        """Hold the parts; `build` makes the request without sending it."""
        self._shell = shell
        self.build = build

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Send the request and return its answer."""
        return self._shell.run(exchange(self.build(*args, **kwargs), self._shell.wire.attempts))

    def into(self, kind: type[U]) -> "SyncCall[P, U]":
        """Return the method with its answer read as another type; fields that this does not name are skipped."""
        return SyncCall(self._shell, lambda *args, **kwargs: self.build(*args, **kwargs).into(kind))


class AsyncCall(Generic[P, T]):
    """A method of the async client."""

    def __init__(self, shell: AsyncShell, build: Callable[P, Call[T]]) -> None:
        """Hold the parts; `build` makes the request without sending it."""
        self._shell = shell
        self.build = build

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Send the request and return its answer."""
        return await self._shell.run(exchange(self.build(*args, **kwargs), self._shell.wire.attempts))

    def into(self, kind: type[U]) -> "AsyncCall[P, U]":
        """Return the method with its answer read as another type; fields that this does not name are skipped."""
        return AsyncCall(self._shell, lambda *args, **kwargs: self.build(*args, **kwargs).into(kind))


class call(Generic[P, T]):
    """Makes a method of a function that builds a `Call`."""

    def __init__(self, build: Callable[Concatenate[Any, P], Call[T]]) -> None:
        """Hold the function."""
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, group: Group[SyncShell], owner: Any = None) -> SyncCall[P, T]: ...
    @overload
    def __get__(self, group: Group[AsyncShell], owner: Any = None) -> AsyncCall[P, T]: ...
    @overload
    def __get__(self, group: None, owner: Any = None) -> "call[P, T]": ...
    def __get__(self, group: Group[Any] | None, owner: Any = None) -> Any:
        """Return the method of a group."""
        if group is None:
            return self
        kind: Any = SyncCall if isinstance(group._shell, SyncShell) else AsyncCall
        return kind(group._shell, partial(self.build, group))


class script(Generic[P, T]):
    """Makes a method of a function that returns a script: several requests, one result."""

    def __init__(self, build: Callable[Concatenate[Any, P], Script[T]]) -> None:
        """Hold the function."""
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, group: Group[SyncShell], owner: Any = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, group: Group[AsyncShell], owner: Any = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, group: None, owner: Any = None) -> "script[P, T]": ...
    def __get__(self, group: Group[Any] | None, owner: Any = None) -> Any:
        """Return the method of a group."""
        if group is None:
            return self
        return lambda *args, **kwargs: group._shell.run(self.build(group, *args, **kwargs))


class Stream(Generic[T]):
    """What a function gives whose script emits items of a type."""

    def __init__(self, script: Script[None]) -> None:
        """Hold the script."""
        self.script = script


class stream(Generic[P, T]):
    """Makes a method of a function whose script emits items; close it, or leave its loop, and the connection ends."""

    def __init__(self, build: Callable[Concatenate[Any, P], Stream[T]]) -> None:
        """Hold the function."""
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, group: Group[SyncShell], owner: Any = None) -> Callable[P, Generator[T, None, None]]: ...
    @overload
    def __get__(self, group: Group[AsyncShell], owner: Any = None) -> Callable[P, AsyncGenerator[T, None]]: ...
    @overload
    def __get__(self, group: None, owner: Any = None) -> "stream[P, T]": ...
    def __get__(self, group: Group[Any] | None, owner: Any = None) -> Any:
        """Return the method of a group."""
        if group is None:
            return self
        return lambda *args, **kwargs: group._shell.iterate(self.build(group, *args, **kwargs).script)
