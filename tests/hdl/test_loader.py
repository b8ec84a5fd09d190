"""The weight loader with a model of the groups it serves: ``rows(matrix) == folded(matrix)``, and back."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from numpy.typing import NDArray

from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.layer.loader import WeightLoader
from tests.hdl.clocked import Clocked, run

WEIGHT_BITS = 9
GEOMETRIES = {
    "one neuron": LayerGeometry(n_in=1, n_out=1, groups=1, lanes_per_group=1),
    "one lane": LayerGeometry(n_in=2, n_out=5, groups=1, lanes_per_group=1),
    "one group, padded fold": LayerGeometry(n_in=3, n_out=5, groups=1, lanes_per_group=2),
    "groups of one lane": LayerGeometry(n_in=3, n_out=6, groups=3, lanes_per_group=1),
    "padded lanes": LayerGeometry(n_in=3, n_out=13, groups=2, lanes_per_group=7),
    "folds of groups, padded": LayerGeometry(n_in=4, n_out=9, groups=2, lanes_per_group=2),
    "a padded fold but for one neuron": LayerGeometry(n_in=2, n_out=9, groups=4, lanes_per_group=2),
}


def folded(geometry: LayerGeometry, matrix: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each group's memory, (groups, rows, lanes): where the geometry says that a weight lives, zeros elsewhere."""
    memory = np.zeros((geometry.groups, geometry.rows, geometry.lanes_per_group), dtype=np.int64)
    for row, weights in enumerate(matrix):
        for neuron, weight in enumerate(weights):
            fold, place = divmod(neuron, geometry.lanes)
            memory[place % geometry.groups, fold * geometry.n_in + row, place // geometry.groups] = weight
    return memory


class Groups:
    """The groups' load registers and weight memories, as late as the widest layer's: all paths are registered."""

    SHIFT, WRITE, HOLD = 2, 3, 6
    """Clocks from an enable, and from the grant of a WRITE and of a HOLD slot, to their effect."""

    def __init__(self, clock: Clocked, geometry: LayerGeometry, *, busy: float) -> None:
        self._clock, self._geometry, self._busy = clock, geometry, busy
        shape = geometry.groups, geometry.rows, geometry.lanes_per_group
        # At first there is something else in every place.
        self.memory = np.full(shape, 77)
        self.registers = np.full((shape[0], shape[2]), 99)
        self.granted: list[tuple[int, int, int, int]] = []     # row, fold, first, writing
        self.shifts = 0
        self._coming: deque[list[tuple[str, int, int]]] = deque([] for _ in range(self.HOLD))
        clock.watchers.append(self._clocked)

    def forget(self) -> None:
        """Nothing is under way any more: a reset that lasted long enough."""
        self._coming = deque([] for _ in range(self.HOLD))

    def _clocked(self) -> None:
        dut, get, coming = self._clock.dut, self._clock.get, self._coming
        for what, target, value in coming.popleft():
            if what == "shift":
                self.registers[target] = [*self.registers[target][1:], value]
            elif what == "write":
                self.memory[:, target] = self.registers
            else:
                self.registers[:] = self.memory[:, target]
        coming.append([])
        for group in range(self._geometry.groups):
            self._clock.set(dut.unload[group], int(self.registers[group][0]))
        enable, load = get(dut.enable), get(dut.load)
        for group in range(self._geometry.groups):
            if enable >> group & 1:
                self.shifts += 1
                coming[self.SHIFT - 1].append(("shift", group, load))
        grant = bool(get(dut.request)) and self._clock.random.random() >= self._busy
        self._clock.set(dut.grant, grant)
        if grant:
            row, writing = get(dut.row), get(dut.writing)
            self.granted.append((row, get(dut.fold), get(dut.first), writing))
            coming[(self.WRITE if writing else self.HOLD) - 1].append(("write" if writing else "hold", row, 0))


def some_matrix(geometry: LayerGeometry, seed: int) -> NDArray[np.int64]:
    """Weights over the whole range, both ends included."""
    limit = 1 << (WEIGHT_BITS - 1)
    matrix = np.random.default_rng(seed).integers(-limit, limit, (geometry.n_in, geometry.n_out))
    matrix[0, 0], matrix[-1, -1] = -limit, limit - 1
    return matrix


async def load(clock: Clocked, matrix: NDArray[np.int64]) -> None:
    clock.send("weights", matrix.ravel().tolist())
    await clock.until(lambda: not clock.pending("weights") and not clock.get(clock.dut.active))
    await clock.tick(Groups.WRITE)


async def read(clock: Clocked) -> list[int]:
    """All that a pulse on ``read`` brings."""
    clock.received["readback"].clear()
    clock.set(clock.dut.read, 1)
    await clock.tick()
    clock.set(clock.dut.read, 0)
    assert clock.get(clock.dut.active)
    await clock.until(lambda: not clock.get(clock.dut.active))
    await clock.tick(Groups.HOLD)
    return clock.received["readback"]


def order_of_slots(geometry: LayerGeometry, *, writing: bool) -> list[tuple[int, int, int, int]]:
    return [(fold * geometry.n_in + row, fold, row == 0, writing)
            for row in range(geometry.n_in) for fold in range(geometry.folds)]


@pytest.mark.parametrize(("stall", "busy"), [(0.0, 0.0), (0.4, 0.0), (0.6, 0.6)])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_matrices_come_in_and_go_out(name: str, stall: float, busy: float) -> None:
    geometry = GEOMETRIES[name]

    async def bench(clock: Clocked) -> None:
        groups = Groups(clock, geometry, busy=busy)
        for seed in range(3):
            matrix = some_matrix(geometry, seed)
            groups.granted.clear()
            await load(clock, matrix)
            assert (groups.memory == folded(geometry, matrix)).all(), seed
            assert groups.granted == order_of_slots(geometry, writing=True)
            for _ in range(2):
                groups.granted.clear()
                assert await read(clock) == matrix.ravel().tolist()
                assert groups.granted == order_of_slots(geometry, writing=False)
            assert (groups.memory == folded(geometry, matrix)).all(), "reading changes nothing"

    run(WeightLoader(geometry=geometry, weight_bits=WEIGHT_BITS), bench, stall=stall, seed=3)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_load_registers_are_left_alone_while_the_layer_learns(name: str) -> None:
    geometry = GEOMETRIES[name]

    async def bench(clock: Clocked) -> None:
        groups = Groups(clock, geometry, busy=0.3)
        matrix = some_matrix(geometry, 5)
        await load(clock, matrix)
        for reading in (True, False):
            clock.set(clock.dut.hold_off, 1)
            groups.granted.clear()
            groups.shifts = 0
            if reading:
                clock.received["readback"].clear()
                clock.set(clock.dut.read, 1)
                await clock.tick()
                clock.set(clock.dut.read, 0)
            else:
                matrix = some_matrix(geometry, 6)
                clock.send("weights", matrix.ravel().tolist())
            await clock.tick(30)
            assert (groups.shifts, groups.granted, clock.received["readback"] if reading else []) == (0, [], [])
            assert reading or clock.pending("weights") == matrix.size
            clock.set(clock.dut.hold_off, 0)
            if reading:
                await clock.tick()
                await clock.until(lambda: not clock.get(clock.dut.active))
                assert clock.received["readback"] == matrix.ravel().tolist()
            else:
                await load(clock, matrix[:0])
                assert (groups.memory == folded(geometry, matrix)).all()

    run(WeightLoader(geometry=geometry, weight_bits=WEIGHT_BITS), bench)


@pytest.mark.parametrize("name", ["one neuron", "folds of groups, padded", "padded lanes"])
def test_reset_at_any_moment_starts_over(name: str) -> None:
    """While a matrix comes in, and while it goes out: then the next is loaded, and read, from its first weight on."""
    geometry = GEOMETRIES[name]

    async def bench(clock: Clocked) -> None:
        groups = Groups(clock, geometry, busy=0.2)
        await load(clock, some_matrix(geometry, 1))
        for number, wait in enumerate(range(0, 60, 2 if name == "one neuron" else 5)):
            if number % 2:
                clock.send("weights", some_matrix(geometry, wait).ravel().tolist())
            else:
                clock.set(clock.dut.read, 1)
            await clock.tick()
            clock.set(clock.dut.read, 0)
            await clock.tick(wait)
            await clock.reset()
            groups.forget()
            assert not clock.get(clock.dut.active)
            if number % 3:  # what has been written stays, what has not is as it was
                held = groups.memory.copy()
                assert await read(clock) == [
                    held[(n % geometry.lanes) % geometry.groups, n // geometry.lanes * geometry.n_in + row,
                         (n % geometry.lanes) // geometry.groups]
                    for row in range(geometry.n_in) for n in range(geometry.n_out)], wait
            matrix = some_matrix(geometry, 100 + wait)
            await load(clock, matrix)
            assert (groups.memory == folded(geometry, matrix)).all(), wait
            assert await read(clock) == matrix.ravel().tolist(), wait

    run(WeightLoader(geometry=geometry, weight_bits=WEIGHT_BITS), bench, stall=0.2)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_refresh_reads_and_writes_every_row_as_it_is(name: str) -> None:
    """After power-up and after a reset, in the middle of it too; then weights come in as ever."""
    geometry = GEOMETRIES[name]

    async def bench(clock: Clocked) -> None:
        groups = Groups(clock, geometry, busy=0.3)
        held = np.random.default_rng(1).integers(-99, 99, groups.memory.shape)
        groups.memory[:] = held
        for wait in (None, 3, 8, 12, 17, 24):
            if wait is not None:
                await clock.reset()
                groups.forget()
                await clock.tick(wait)  # into the refresh that follows, which a second reset cuts off
                await clock.reset()
                groups.forget()
            groups.granted.clear()
            assert clock.get(clock.dut.refreshing)
            assert clock.get(clock.dut.active)
            await clock.until(lambda: not clock.get(clock.dut.refreshing))
            await clock.tick(Groups.WRITE)
            assert not clock.get(clock.dut.active)
            assert groups.granted == [
                (*slot, writing) for *slot, _ in order_of_slots(geometry, writing=True) for writing in (False, True)]
            assert (groups.memory == held).all()
        assert clock.received["readback"] == []
        matrix = some_matrix(geometry, 4)
        await load(clock, matrix)
        assert (groups.memory == folded(geometry, matrix)).all()
        assert await read(clock) == matrix.ravel().tolist()

    run(WeightLoader(geometry=geometry, weight_bits=WEIGHT_BITS, refresh=True), bench)
