"""Counting what a design is made of."""

from __future__ import annotations

import pytest
from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import memory

from lifstream.golden.study.presets import preset_by_name, preset_in_words
from lifstream.hdl.census import Census, census, core_census, layer_facts, link_census
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.registry import make_layer


def counted(m: Module) -> dict[str, int]:
    return {kind: bits for kind, bits in census(m).bits.items() if bits}


def test_registers_and_sums() -> None:
    m, a, b, c = Module(), Signal(signed(8)), Signal(signed(6)), Signal(signed(12))
    m.d.sync += c.eq(a + b)
    assert counted(m) == {"register": 12, "add": 9}


def test_no_more_of_a_sum_than_is_used() -> None:
    m, a, b, c = Module(), Signal(8), Signal(8), Signal(4)
    m.d.comb += c.eq(a + b)
    assert counted(m) == {"add": 4}


def test_a_value_used_twice_is_there_once() -> None:
    m, a, b, c, d = Module(), Signal(8), Signal(8), Signal(9), Signal(9)
    both = a + b
    m.d.comb += [c.eq(both), d.eq(both)]
    assert counted(m) == {"add": 9}


def test_an_enable_is_free_and_further_conditions_are_not() -> None:
    m, a, enable, clear = Module(), Signal(8), Signal(), Signal()
    with m.If(enable):
        m.d.sync += a.eq(a ^ 3)
    once = counted(m)
    assert once == {"register": 8, "logic": 8}
    m = Module()
    with m.If(clear):
        m.d.sync += a.eq(0)
    with m.Elif(enable):
        m.d.sync += a.eq(Mux(clear, a, 5))
    assert counted(m)["assign"] == 8
    assert counted(m)["mux"] == 8


def test_constants_are_told_from_what_varies() -> None:
    m, a, b, out = Module(), Signal(7), Signal(7), Signal(5)
    m.d.comb += out.eq(Cat(a == 5, a == b, a < b, a >> b[:2] != 0, a.any()))
    assert counted(m) == {"choose": 7 + 7, "equal": 7, "compare": 7, "shift": 14, "reduce": 7}


def test_a_port_that_nobody_reads_is_none() -> None:
    for used in (False, True):
        m, out = Module(), Signal(6)
        m.submodules.store = store = memory.Memory(shape=6, depth=10, init=[])
        put, first, second = store.write_port(), store.read_port(), store.read_port(domain="comb")
        m.d.comb += [put.addr.eq(first.data), second.addr.eq(3)]
        m.d.comb += out.eq(second.data) if used else []
        [(shape, count)] = census(m).memories.items()
        assert (shape.name, shape.depth, shape.width, count) == ("store", 10, 6, 1)
        assert (shape.writes, shape.sync_reads, shape.async_reads) == (1, 1, int(used))


@pytest.mark.parametrize(("words", "lanes"), [("dense 20, dense 10", 20), ("conv 6 3x3/2, dense 10", 6)])
def test_one_group_stands_for_all(words: str, lanes: int) -> None:
    """What is counted of one group, times their number, is what all of them are."""
    spec = preset_in_words(words, dataset="digits").spec
    geometry = Geometry(lanes=lanes, neurons_per_unit=2)
    for layer in range(2):
        whole = census(make_layer(spec=spec, geometry=geometry, layer=layer))
        facts = layer_facts(spec, geometry, layer)
        assert facts.census == whole
        assert whole.memories.total() > 2


def test_other_layers_make_no_difference() -> None:
    spec = preset_by_name("digits").spec
    assert layer_facts(spec, Geometry(lanes=(4, 2)), 1) is layer_facts(spec, Geometry(lanes=(8, 2)), 1)
    assert layer_facts(spec, Geometry(lanes=(4, 2)), 0) != layer_facts(spec, Geometry(lanes=(8, 2)), 0)


def test_a_core_is_counted_without_its_layers() -> None:
    spec = preset_by_name("digits").spec
    names = {shape.name for shape in core_census(spec, 4).memories}
    assert "weights" not in names
    assert {"trains", "bank_0", "bank_3"} <= names
    assert {shape.depth for shape in link_census().memories} == {1024, 1028}


def test_counts_add() -> None:
    spec = preset_by_name("digits").spec
    one = core_census(spec, 1)
    assert one + one == one.times(2)
    assert one + Census() == one
