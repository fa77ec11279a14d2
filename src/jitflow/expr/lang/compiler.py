"""A tree to closures: `Code` evaluates a part in a frame. The tree is walked once; evaluating looks at no node."""

from collections.abc import Callable, Mapping
from typing import Any

from jitflow.expr.lang import functions, loops, nodes
from jitflow.expr.lang.frame import PLAIN, Frame, Lazy, Value, kind_of
from jitflow.expr.lang.methods import method
from jitflow.expr.lang.nodes import Node
from jitflow.expr.lang.operators import BINARY, UNARY, WITH_FRAME, as_bool, cut, fetch
from jitflow.expr.lang.problems import Failure, LangError, UnknownName
from jitflow.expr.lang.text import go_type, type_name

Code = Callable[[Frame], Value]

_ABSENT: Any = object()


class _Broken(Exception):
    """An optional member found nil: the chain around it is nil."""


class Compiler:
    """Compiles one expression."""

    def __init__(self, text: str) -> None:
        """Hold the text, for the places of errors."""
        self._text = text
        self._variables: list[tuple[str, int]] = []
        self.room = 0
        """How many variables the expression needs at most."""
        self._weights: list[int] = []

    def code(self, node: Node) -> Code:
        """Return the code of a node."""
        if self._weights:
            self._weights[-1] += 1
        match node:
            case nodes.Constant():
                value = node.value
                return lambda frame: value
            case nodes.Name():
                return self._forced(self._name(node), node.offset)
            case nodes.Pointer():
                return _POINTERS[node.name]
            case nodes.Unary():
                return self._unary(node)
            case nodes.Binary():
                return self._chain_of_operators(node)
            case nodes.Member():
                return self._forced(self._member(node), node.offset)
            case nodes.Chain():
                return _optional_chain(self.code(node.node))
            case nodes.Slice():
                return self._slice(node)
            case _:
                return self._larger(node)

    def _larger(self, node: Node) -> Code:
        match node:
            case nodes.Call():
                return self._call(node)
            case nodes.Builtin():
                return self._builtin(node)
            case nodes.Condition():
                return self._condition(node)
            case nodes.Let():
                return self._let(node)
            case nodes.Sequence():
                return _in_sequence([self.code(part) for part in node.nodes])
            case nodes.Array():
                return _array([self.code(item) for item in node.items])
            case nodes.Map():
                return self._map(node)
            case _:
                raise self.error("unexpected predicate", node.offset)

    def error(self, reason: str, offset: int) -> LangError:
        """Return an error at a place of the text."""
        return LangError(reason, text=self._text, offset=offset)

    def _raw(self, node: Node) -> Code:
        """Return the code of what stands before a member: it may give a lazy value, of which only the member is asked."""
        match node:
            case nodes.Name():
                return self._name(node)
            case nodes.Member():
                return self._member(node)
            case _:
                return self.code(node)

    def _forced(self, raw: Code, offset: int) -> Code:
        text = self._text

        def run(frame: Frame) -> Value:
            value = raw(frame)
            if kind_of(value) not in PLAIN and isinstance(value, Lazy):
                try:
                    return value.value()
                except KeyError as error:
                    raise UnknownName(str(error.args[0]), text, offset) from None
            return value

        return run

    # -- names --------------------------------------------------------------------------------------------------------

    def _name(self, node: nodes.Name) -> Code:
        name, text, offset = node.name, self._text, node.offset
        for known, slot in reversed(self._variables):
            if known == name:
                return lambda frame: frame.local[slot]
        if name == "$env":
            return lambda frame: frame.env

        def read(frame: Frame) -> Value:
            value = frame.env.get(name, _ABSENT)
            if value is _ABSENT:
                raise UnknownName(name, text=text, offset=offset)
            return value

        return read

    def _let(self, node: nodes.Let) -> Code:
        if any(known == node.name for known, _ in self._variables):
            raise self.error(f"cannot redeclare variable {node.name}", node.offset)
        value = self.code(node.value)
        slot = len(self._variables)
        self._variables.append((node.name, slot))
        self.room = max(self.room, slot + 1)
        body = self.code(node.body)
        self._variables.pop()

        def run(frame: Frame) -> Value:
            frame.local[slot] = value(frame)
            return body(frame)

        return run

    # -- operators ----------------------------------------------------------------------------------------------------

    def _unary(self, node: nodes.Unary) -> Code:
        operand, apply = self.code(node.operand), UNARY[node.operator]

        def run(frame: Frame) -> Value:
            value = operand(frame)
            try:
                return apply(value)
            except Failure as fault:
                raise self.error(str(fault), node.offset) from fault

        return run

    def _chain_of_operators(self, node: nodes.Binary) -> Code:
        """Compile a chain that leans to the left to a loop: chains may be long, nesting may not."""
        chain = [node]
        while isinstance(left := chain[-1].left, nodes.Binary):
            chain.append(left)
        first = self.code(chain[-1].left)
        links = [self._link(link) for link in reversed(chain)]
        if len(links) == 1:
            link = links[0]
            return lambda frame: link(frame, first(frame))

        def run(frame: Frame) -> Value:
            value = first(frame)
            for link in links:
                value = link(frame, value)
            return value

        return run

    def _link(self, node: nodes.Binary) -> Callable[[Frame, Value], Value]:
        """Return what applies an operator to a left value."""
        right, offset, sign = self.code(node.right), node.offset, node.operator
        if sign in {"&&", "||"}:
            return self._logical(right, offset, decides=sign == "||")
        if sign == "??":
            return lambda frame, left: right(frame) if left is None else left
        if sign in WITH_FRAME:
            counted = WITH_FRAME[sign]

            def run_counted(frame: Frame, left: Value) -> Value:
                value = right(frame)
                try:
                    return counted(left, value, frame)
                except Failure as fault:
                    raise self.error(str(fault), offset) from fault

            return run_counted
        apply = BINARY[sign]

        def run(frame: Frame, left: Value) -> Value:
            value = right(frame)
            try:
                return apply(left, value)
            except Failure as fault:
                raise self.error(str(fault), offset) from fault

        return run

    def _logical(self, right: Code, offset: int, *, decides: bool) -> Callable[[Frame, Value], Value]:
        def run(frame: Frame, left: Value) -> Value:
            try:
                return decides if as_bool(left) is decides else right(frame)
            except Failure as fault:
                raise self.error(str(fault), offset) from fault

        return run

    def _condition(self, node: nodes.Condition) -> Code:
        test, then, otherwise = self.code(node.test), self.code(node.then), self.code(node.otherwise)

        def run(frame: Frame) -> Value:
            value = test(frame)
            if value is True:
                return then(frame)
            if value is False:
                return otherwise(frame)
            shown = "nil" if value is None else go_type(value)
            raise self.error(f"interface conversion: interface {{}} is {shown}, not bool", node.offset)

        return run

    # -- members and calls --------------------------------------------------------------------------------------------

    def _member(self, node: nodes.Member) -> Code:
        whole, optional, offset, text = self._raw(node.node), node.optional, node.offset, self._text
        constant = node.property.value if isinstance(node.property, nodes.Constant) else None
        key = self.code(node.property)

        def run(frame: Frame) -> Value:
            value = whole(frame)
            if kind_of(value) is dict and type(constant) is str:
                return value.get(constant)
            if value is None and optional:
                raise _Broken
            wanted = key(frame)
            try:
                if kind_of(value) not in PLAIN and isinstance(value, Lazy):
                    return value.member(wanted) if isinstance(wanted, str) else fetch(value.value(), wanted)
                return method(value, wanted) or fetch(value, wanted)
            except KeyError as error:
                raise UnknownName(str(error.args[0]), text, offset) from None
            except Failure as fault:
                raise self.error(str(fault), offset) from fault

        return run

    def _slice(self, node: nodes.Slice) -> Code:
        whole = self.code(node.node)
        low = self.code(node.low) if node.low else None
        high = self.code(node.high) if node.high else None

        def run(frame: Frame) -> Value:
            value = whole(frame)
            first = low(frame) if low else None
            last = high(frame) if high else None
            try:
                frame.spend(1 + (len(value) >> 6 if isinstance(value, str) else 0))
                return cut(value, first, last)
            except Failure as fault:
                raise self.error(str(fault), node.offset) from fault

        return run

    def _call(self, node: nodes.Call) -> Code:
        callee = self.code(node.callee)
        arguments = [self.code(argument) for argument in node.arguments]

        name = called(node.callee)

        def run(frame: Frame) -> Value:
            function = callee(frame)
            if not callable(function):
                shown = "nil" if function is None else go_type(function)
                raise self.error(f"invalid operation: cannot call {shown} ({name})", node.offset)
            given = [argument(frame) for argument in arguments]
            try:
                frame.spend(1)
                return frame.made(_invoked(name, function, given))
            except Failure as fault:
                raise self.error(str(fault), node.offset) from fault

        return run

    def _builtin(self, node: nodes.Builtin) -> Code:
        name = node.name
        if name in loops.LOOPS:
            return self._loop(node)
        apply = functions.FUNCTIONS[name]
        arguments = [self.code(argument) for argument in node.arguments]

        def run(frame: Frame) -> Value:
            given = [argument(frame) for argument in arguments]
            try:
                frame.spend(1)
                return apply(frame, given)
            except Failure as fault:
                raise self.error(str(fault), node.offset) from fault
            except KeyError as error:
                raise UnknownName(str(error.args[0]), self._text, node.offset) from None

        return run

    def _loop(self, node: nodes.Builtin) -> Code:
        array = self.code(node.arguments[0])
        predicate: Code = _POINTERS[""]
        weight = 1
        if len(node.arguments) > 1:
            inner = node.arguments[1]
            self._weights.append(1)
            predicate = self.code(inner.node if isinstance(inner, nodes.Predicate) else inner)
            weight = self._weights.pop()
        rest = [self.code(argument) for argument in node.arguments[2:]]
        if self._weights:
            self._weights[-1] += weight
        apply = loops.LOOPS[node.name]

        def run(frame: Frame) -> Value:
            value = array(frame)
            given = [argument(frame) for argument in rest]
            outside = frame.item, frame.index, frame.acc
            try:
                return apply(loops.Loop(frame, value, predicate, weight, node.name), given)
            except Failure as fault:
                raise self.error(str(fault), node.offset) from fault
            finally:
                frame.item, frame.index, frame.acc = outside

        return run

    def _map(self, node: nodes.Map) -> Code:
        pairs = [(self.code(key), self.code(value)) for key, value in node.pairs]

        def run(frame: Frame) -> Value:
            made: dict[str, Value] = {}
            for key, value in pairs:
                name = key(frame)
                if not isinstance(name, str):
                    raise self.error(f"interface conversion: interface {{}} is {go_type(name)}, not string", node.offset)
                made[name] = value(frame)
            return made

        return run


def called(node: Node) -> str:
    """Return the last part of the name of what is called."""
    match node:
        case nodes.Name():
            return node.name
        case nodes.Member(property=nodes.Constant(value=str() as name)):
            return name
        case _:
            return "it"


def _invoked(name: str, function: Callable[..., Value], given: list[Value]) -> Value:
    """Call a function of the environment; what it cannot take becomes the expression's error."""
    try:
        return function(*given)
    except LangError:
        raise
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, OSError) as error:
        kinds = ", ".join(type_name(argument) for argument in given)
        raise Failure(f"{name} cannot be called with ({kinds}): {str(error)[:100]}") from error


def _array(items: list[Code]) -> Code:
    return lambda frame: [item(frame) for item in items]


def _in_sequence(parts: list[Code]) -> Code:
    def run(frame: Frame) -> Value:
        value: Value = None
        for part in parts:
            value = part(frame)
        return value

    return run


def _optional_chain(inner: Code) -> Code:
    def run(frame: Frame) -> Value:
        try:
            return inner(frame)
        except _Broken:
            return None

    return run


_POINTERS: Mapping[str, Code] = {
    "": lambda frame: frame.item,
    "index": lambda frame: frame.index,
    "acc": lambda frame: frame.acc,
}
