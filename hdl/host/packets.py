"""What packets are made of on their way into and out of a core."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Mux, Value, ValueLike
from amaranth.lib import data, stream

from lifstream.golden.contract.protocol import Command

__all__ = ["ByteLayout", "ByteStream", "by_command"]


class ByteLayout(data.StructLayout):
    """A byte of a packet; ``last`` is set on the packet's last."""

    def __init__(self) -> None:
        super().__init__({"data": 8, "last": 1})


ByteStream = stream.Signature(ByteLayout())


def by_command(command: Value, values: Sequence[tuple[Command, ValueLike]]) -> ValueLike:
    """The value that belongs to the command under way, one of these: the first if it is none of the others."""
    (_, chosen), *others = values
    for name, value in others:
        chosen = Mux(command == name, value, chosen)
    return chosen
