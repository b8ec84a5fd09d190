"""What a design is made of, counted from its own statements: registers, memories, adders, multiplexers, by their bits.

Nothing is synthesised: a design is elaborated, of groups of lanes one for all of a layer, and its statements are gone
through. So a new kind of neuron or rule is counted without a word said here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, reduce
from operator import add
from typing import Any

from amaranth.hdl import Elaboratable, Fragment, Module, Shape
from amaranth.hdl import _ast as ast
from amaranth.hdl._mem import MemoryInstance

from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import PAYLOAD_MAX
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.host.core import Core
from lifstream.hdl.host.link import Link, UartReceiver, UartTransmitter
from lifstream.hdl.layer.layer import LifLayer
from lifstream.hdl.layer.membrane import Pace
from lifstream.hdl.registry import make_layer

__all__ = ["KINDS", "Census", "LayerFacts", "MemoryShape", "census", "core_census", "layer_facts", "link_census"]

KINDS = ("register", "add", "compare", "equal", "logic", "reduce", "mux", "pick", "shift", "assign", "choose")
"""What is counted, in bits.

``register``
    Flip-flops.
``add``, ``compare``
    Sums and differences, of their results; and what is compared for order.
``equal``
    What is compared with a value that varies.
``logic``, ``reduce``
    And, or, exclusive or; and what goes into those over all bits of a value.
``mux``
    One of two values.
``pick``
    One of several values, or bits of one, by an index: of all of them together.
``shift``
    By an amount that varies: of the result, for each bit of the amount.
``assign``
    Assignments under a condition: beyond a register's first, which is its enable.
``choose``
    What is compared with constants.
"""


@dataclass(frozen=True, kw_only=True)
class MemoryShape:
    """A memory.

    Parameters
    ----------
    name
        As the designer calls it.
    depth, width
        Words, and bits of each.
    writes, sync_reads, async_reads
        Ports: those that write, those whose answer comes a clock later, those whose answer comes at once.
    """

    name: str
    depth: int
    width: int
    writes: int
    sync_reads: int
    async_reads: int

    @property
    def bits(self) -> int:
        """That it holds."""
        return self.depth * self.width


@dataclass(frozen=True, kw_only=True)
class Census:
    """What a part of a design is made of.

    Parameters
    ----------
    bits
        Number of bits of each of :data:`KINDS`.
    memories
        How many there are of each shape.
    """

    bits: Counter[str] = field(default_factory=Counter)
    memories: Counter[MemoryShape] = field(default_factory=Counter)

    def __add__(self, other: Census) -> Census:
        return Census(bits=self.bits + other.bits, memories=self.memories + other.memories)

    def times(self, count: int) -> Census:
        """So many of them."""
        return Census(bits=Counter({kind: count * bits for kind, bits in self.bits.items()}),
                      memories=Counter({memory: count * number for memory, number in self.memories.items()}))


class _Counting:
    """Goes through the values of a module; one that is used twice is counted once."""

    def __init__(self) -> None:
        self.bits: Counter[str] = Counter()
        self._seen: dict[int, tuple[int, Any]] = {}     # width that was counted; the value, to keep its id its own
        self._assigned: Counter[int] = Counter()        # conditional assignments by signal
        self._signals: dict[int, tuple[Any, bool]] = {}

    def value(self, value: Any, needed: int) -> None:
        """Count what makes the lowest ``needed`` bits of a value."""
        needed = min(needed, len(value))
        known, _ = self._seen.get(id(value), (0, None))
        if needed <= known or isinstance(value, (ast.Const, ast.Signal)):
            return
        self._seen[id(value)] = needed, value
        beyond = needed - known
        if isinstance(value, ast.Operator):
            self._operator(value, needed, beyond)
        elif isinstance(value, ast.Slice):
            self.value(value.value, value.stop)
        elif isinstance(value, ast.Concat):
            for part in value.parts:
                self.value(part, len(part))
        elif isinstance(value, ast.Part):
            self.bits["pick"] += len(value.value)
            self.value(value.value, len(value.value))
            self.value(value.offset, len(value.offset))
        elif isinstance(value, ast.SwitchValue):
            self._choice(value, needed, beyond)

    def _choice(self, value: Any, needed: int, beyond: int) -> None:
        self.value(value.test, len(value.test))
        varying = [each for _, each in value.cases]
        self.bits["mux" if len(varying) == 2 else "pick"] += beyond * (len(varying) if len(varying) > 2 else 1)
        for each in varying:
            self.value(each, needed)

    def _operator(self, value: Any, needed: int, beyond: int) -> None:
        operands, operator = value.operands, value.operator
        constant = any(isinstance(each, ast.Const) for each in operands)
        widest = max(len(each) for each in operands)
        if operator in ("u", "s", "~"):
            self.value(operands[0], needed)
            return
        if operator in ("+", "-", "&", "|", "^"):
            self.bits["add" if operator in "+-" else "logic"] += min(beyond, widest + 1)
            for each in operands:
                self.value(each, needed)
            return
        if operator in ("==", "!="):
            self.bits["choose" if constant else "equal"] += widest
        elif operator in ("<", ">", "<=", ">="):
            zero = constant and any(isinstance(each, ast.Const) and each.value == 0 for each in operands)
            self.bits["compare"] += 1 if zero and operator in ("<", ">=") else widest
        elif operator in ("b", "r|", "r&", "r^"):
            self.bits["reduce"] += widest
        elif operator in ("<<", ">>"):
            self.bits["shift"] += min(beyond, len(operands[0])) * len(operands[1])
        elif operator == "*":
            self.bits["add"] += len(operands[0]) * len(operands[1])
        for each in operands:
            self.value(each, len(each))

    def statements(self, statements: Iterable[Any], *, clocked: bool, conditional: bool = False) -> None:
        """Count statements of a domain."""
        for statement in statements:
            if isinstance(statement, ast.Assign):
                width = len(statement.lhs)
                self.value(statement.rhs, width)
                for signal, bits in _targets(statement.lhs):
                    self._signals[id(signal)] = signal, clocked
                    if conditional:
                        self._assigned[id(signal)] += bits
                if not isinstance(statement.lhs, (ast.Signal, ast.Slice, ast.Concat, ast.Operator)):
                    self._left(statement.lhs)
            elif isinstance(statement, ast.Switch):
                self.value(statement.test, len(statement.test))
                for patterns, inner, _ in statement.cases:
                    if patterns is not None and len(statement.test) > 1:
                        self.bits["choose"] += len(statement.test)
                    self.statements(inner, clocked=clocked, conditional=True)

    def _left(self, left: Any) -> None:
        """What decides where an assignment goes."""
        if isinstance(left, ast.Part):
            self.bits["choose"] += len(left.value)
            self.value(left.offset, len(left.offset))
        elif isinstance(left, ast.SwitchValue):
            self.bits["choose"] += len(left.cases)
            self.value(left.test, len(left.test))

    def done(self) -> Counter[str]:
        """All that was counted."""
        for key, (signal, clocked) in self._signals.items():
            if clocked:
                self.bits["register"] += len(signal)
            self.bits["assign"] += max(0, self._assigned[key] - (len(signal) if clocked else 0))
        return self.bits


def _targets(left: Any) -> Iterator[tuple[Any, int]]:
    """Signals that an assignment may reach, and how many bits of each."""
    if isinstance(left, ast.Signal):
        yield left, len(left)
    elif isinstance(left, ast.Slice):
        for signal, _ in _targets(left.value):
            yield signal, len(left)
    elif isinstance(left, ast.Concat):
        for part in left.parts:
            yield from _targets(part)
    elif isinstance(left, ast.Part):
        yield from _targets(left.value)
    elif isinstance(left, ast.SwitchValue):
        for _, case in left.cases:
            yield from _targets(case)
    elif isinstance(left, ast.Operator):
        yield from _targets(left.operands[0])


def census(design: Elaboratable | Fragment) -> Census:
    """What a design is made of, with all that is in it."""
    fragment = Fragment.get(design, None)
    counting, memories, inner = _Counting(), Counter[MemoryShape](), []
    for domain, statements in fragment.statements.items():
        counting.statements(statements, clocked=domain != "comb")
    holds = any(isinstance(part, MemoryInstance) for part, _, _ in fragment.subfragments)
    used = ast.SignalSet()
    for statements in fragment.statements.values() if holds else ():
        used.update(statements._rhs_signals())
    for part, name, _ in fragment.subfragments:
        if isinstance(part, MemoryInstance):
            memories[_memory(part, name or "", used)] += 1
        else:
            inner.append(_named(census(part), name or ""))
    return reduce(add, inner, Census(bits=counting.done(), memories=memories))


def _named(found: Census, name: str) -> Census:
    """With the names of memories as seen from a level further out; what stands below is called by the outer name."""
    return replace(found, memories=Counter({
        replace(memory, name=memory.name or name): count for memory, count in found.memories.items()}))


def _memory(instance: Any, name: str, used: Any) -> MemoryShape:
    """Of the ports that are read, those whose answers are ``used``: synthesis leaves out the others."""
    reads = [port._domain for port in instance._read_ports if any(each in used for each in port._data._rhs_signals())]
    return MemoryShape(name="" if name == "instance" else name, depth=instance._data.depth,
                       width=Shape.cast(instance._data.shape).width, writes=len(instance._write_ports),
                       sync_reads=sum(domain != "comb" for domain in reads), async_reads=reads.count("comb"))


def _unused(part: Any) -> None:
    """Say of a part, and of those it holds, that they are not to be elaborated: Amaranth would warn of it."""
    part._MustUse__used = True
    for held in vars(part).values():
        for each in held if isinstance(held, list) else held.values() if isinstance(held, dict) else [held]:
            if isinstance(each, Elaboratable) and not getattr(each, "_MustUse__used", False):
                _unused(each)


def _without(parts: Iterable[Elaboratable]) -> None:
    """Let parts elaborate to nothing: their ports stay, so what is around them does too."""
    for part in parts:
        _unused(part)
        vars(part)["elaborate"] = lambda _: Module()


@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """What is to be known of a layer without synthesis or simulation.

    Parameters
    ----------
    census
        What it is made of.
    pace
        How fast its steps may follow each other.
    shifts_max, lead
        Of an update: most shifts of a row, and clocks before the first.
    every_row
        Whether an update goes through all rows, not those of neurons that fired.
    room
        Slices of spikes that may wait to leave.
    """

    census: Census
    pace: Pace
    shifts_max: int
    lead: int
    every_row: bool
    room: int


def layer_facts(spec: NetworkSpec, geometry: Geometry, layer: int) -> LayerFacts:
    """What is to be known of a layer of ``spec``; raises as :meth:`Geometry.layer`."""
    return _layer_facts(spec, layer, geometry.only(spec, layer))


@lru_cache(maxsize=4096)
def _layer_facts(spec: NetworkSpec, layer: int, geometry: Geometry) -> LayerFacts:
    made: LifLayer = make_layer(spec=spec, geometry=geometry, layer=layer)
    first, *others = made.groups
    teaching, learns = made.teaching, spec.learns
    _without(others)
    group = census(first)
    _without([first])
    return LayerFacts(census=census(made) + group.times(len(made.groups)), pace=first.pace,
                      shifts_max=teaching.shifts_max if learns else 0, lead=teaching.lead,
                      every_row=teaching.every_row, room=made.emission.slice_depth)


@lru_cache(maxsize=256)
def core_census(spec: NetworkSpec, pixels_per_clock: int) -> Census:
    """What a core is made of beside its layers."""
    core = Core(spec=spec, geometry=Geometry(lanes=1, pixels_per_clock=pixels_per_clock))
    _without(core.network.layers)
    return census(core)


@lru_cache(maxsize=1)
def link_census() -> Census:
    """What is between a core and the two wires to the host."""
    parts = (Link(payload=PAYLOAD_MAX, patience=1 << 24), UartReceiver(divisor=32), UartTransmitter(divisor=32))
    return reduce(add, map(census, parts))
