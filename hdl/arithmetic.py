"""Arithmetic the numeric contract leaves no choice about; each is proved against a naive model.

All shifts are arithmetic and round towards minus infinity. Additions, comparisons and wires only.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed

from lifstream.golden.contract.neurons import Decay, PerNeuron

__all__ = ["add_rounded", "decay", "decay_stages", "leak", "saturate", "shift_rounding", "signed_digits", "xorshift32"]


def saturate(value: Value, low: int, high: int) -> Value:
    """``value`` limited to ``low..high``: two comparisons, or none where the range is all numbers of so many bits."""
    bits = high.bit_length()
    if (low, high) not in ((-1 << bits, (1 << bits) - 1), (0, (1 << bits) - 1)):
        return Mux(value < low, low, Mux(value > high, high, value))
    if bits == 0 or not value.shape().signed or len(value) <= bits + 1:
        value = value + Const(0, signed(bits + 2))  # widened: the bits above tell
    kept, above, negative = value[:bits], value[bits:], value[-1]
    if low == 0:
        return Mux(above.any(), (~negative).replicate(bits), kept)
    return Cat(Mux(above.any() & ~above.all(), (~negative).replicate(bits), kept), negative).as_signed()


def leak(value: Value, leak_shift: int) -> Value:
    """``((2**k - 1) * value) >> k`` with one subtraction."""
    return ((value << leak_shift) - value) >> leak_shift


def signed_digits(number: int) -> list[tuple[int, int]]:
    """``(sign, place)`` of the non-zero digits of a number, at least 0, in signed binary without neighbours: the least
    that a constant multiplication needs."""
    digits, place = [], 0
    while number:
        if number & 1:
            sign = 2 - (number & 3)     # 1, or -1 where a run of ones begins
            digits.append((sign, place))
            number -= sign
        number, place = number >> 1, place + 1
    return digits


def decay_stages(kept: Decay) -> int:
    """Levels of additions, each with a register behind it, of a decay: none where it is a shift alone.

    Added up are shifts: by the non-zero digits of a numerator or, where neurons have their own, by its bits.
    """
    numerator = kept.numerator
    terms = numerator.high.bit_length() if isinstance(numerator, PerNeuron) else len(signed_digits(numerator))
    return max(0, terms - 1).bit_length()


def decay(m: Module, value: Value, kept: Decay, *, stages: int, name: str, own: Value | None = None) -> Value:
    """``(numerator * value) >> shift``, ``stages`` clocks later: shifts, and a tree of additions. No multiplier.

    Parameters
    ----------
    stages
        At least :func:`decay_stages`.
    name
        Of the registers: ``name_decay_0_1``.
    own
        The numerator that goes with the value, where neurons have their own: each of its bits lets a shift through.
    """
    terms: list[Value]
    if own is None:
        assert isinstance(kept.numerator, int)
        terms = [value << place if sign > 0 else -(value << place) for sign, place in signed_digits(kept.numerator)]
    else:
        terms = [Mux(bit, value << place, 0) for place, bit in enumerate(own)]
    terms = terms or [Const(0)]
    for stage in range(stages):
        pairs = [terms[index:index + 2] for index in range(0, len(terms), 2)]
        terms = []
        for index, pair in enumerate(pairs):
            total = pair[0] if len(pair) == 1 else pair[0] + pair[1]
            register = Signal(total.shape(), name=f"{name}_decay_{stage}_{index}", reset_less=True)
            m.d.sync += register.eq(total)
            terms.append(register)
    assert len(terms) == 1, "too few stages"
    return (terms[0] >> kept.shift)[:len(value)].as_signed()


def shift_rounding(m: Module, *, value: Signal, carry: Signal, random: Value | None = None) -> None:
    """One clock of a serial right shift; after ``r`` clocks ``value + carry`` is the start value over 2**r, rounded.

    Half up without ``random``: the last bit shifted out is the carry. Otherwise a random word comes in on
    ``random``, lowest bit first, and is added to what is shifted out: a full adder's carry.
    """
    out = value[0]
    m.d.sync += [value.eq(value >> 1),
                 carry.eq(out if random is None else (out & random) | (out & carry) | (random & carry))]


def xorshift32(state: Value) -> Value:
    """The next draw of the generator with shifts 13, 17, 5: exclusive ors of 32 bits."""
    first = (state ^ (state << 13))[:32]
    second = first ^ (first >> 17)
    return (second ^ (second << 5))[:32]


def add_rounded(*, weight: Value, magnitude: Value, carry: Value, negative: Value) -> Value:
    """``weight`` plus, or minus, ``magnitude + carry``: one adder. ``w - s - c`` is ``w + ~s + (1 - c)``."""
    widened = Cat(magnitude, Const(0, 1))
    return weight + (widened ^ negative.replicate(len(widened))).as_signed() + (carry ^ negative)
