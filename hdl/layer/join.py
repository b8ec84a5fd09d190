"""Joins components by the names of their ports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from amaranth.hdl import Module, Shape
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["drive", "join", "outputs", "with_bits"]


def with_bits(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a signature that have any: Verilog cannot spell a port without bits."""
    return {name: member for name, member in members.items()
            if member.is_signature or Shape.cast(member.shape).width > 0}


def drive(m: Module, port: Any, source: Any) -> None:
    """Drive a port, or an array of ports, combinationally."""
    if isinstance(port, (list, tuple)):
        for each, driver in zip(port, source, strict=True):
            drive(m, each, driver)
    else:
        m.d.comb += port.eq(source)


def outputs(parts: Iterable[wiring.Component]) -> dict[str, Any]:
    """All outputs of the parts by name, but for streams."""
    found: dict[str, Any] = {}
    for part in parts:
        for name, member in part.signature.members.items():
            if member.flow is Out and not member.is_signature:
                assert name not in found, f"two outputs are called {name}"
                found[name] = getattr(part, name)
    return found


def join(m: Module, parts: Iterable[wiring.Component], sources: Mapping[str, Any]) -> None:
    """Drive every input of the parts by the source of its name. Streams are left alone: ``connect`` joins them.

    Raises
    ------
    KeyError
        No source has the name of an input.
    """
    for part in parts:
        for name, member in part.signature.members.items():
            if member.flow is In and not member.is_signature:
                drive(m, getattr(part, name), sources[name])
