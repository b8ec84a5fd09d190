"""Runs a single block under Verilator: payloads in, payloads out, stream rules watched."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amaranth.lib import wiring

from lifstream.hdl.emit import Emission, emit
from lifstream.sim.cosim import STALL_MODES, Stalls
from lifstream.sim.harness import write_harness
from lifstream.sim.runner import build, run_bench

SPIKE, STEP_END, SAMPLE_END, LEARN = 0, 1, 2, 3


class BlockError(AssertionError):
    """The bench found a broken stream rule or a missing output."""


@functools.cache
def once(make: Callable[..., Emission], **arguments: Any) -> Emission:
    """What ``make`` emits. Emitting takes longer than simulating, and many tests ask for the same."""
    return make(**arguments)


@functools.cache
def emitted(block: Callable[..., wiring.Component], *arguments: Any, **named: Any) -> Emission:
    """A block's Verilog; as :func:`once`."""
    return emit(block(*arguments, **named))


def simulate(emission: Emission, runs: list[dict[str, Any]], folder: Path, *, stalls: Stalls,
             seed: int = 1, cycle_limit: int = 20_000,
             rewrite: Callable[[str], str] = str) -> list[dict[str, Any]]:
    """Play each run's ``stimuli`` (integers by stream), await the ``expected`` transfers (by stream).

    ``rewrite`` changes the Verilog. A run with ``cut``, {``clocks``, ``reset_clocks``}, is cut off by a reset then and
    has no outputs. Returns the outputs of each other run, integers by stream.
    """
    harness = write_harness(emission.description, samples=1, stimulus_depth=4096, capture_depth=4096)
    built = build(verilog=rewrite(emission.verilog), harness=harness, description=emission.description)
    result = run_bench(built, module="lifstream.sim.tb_stream", folder=folder, configuration={
        "stall_mode": STALL_MODES[stalls], "seed": seed, "monitors": list(harness.monitors),
        "runs": [{"cycle_limit": cycle_limit, **run} for run in runs]})
    if result["error"]:
        raise BlockError(result["error"])
    return list(result["runs"])


def spike_events(trains: Any) -> list[tuple[int, int]]:
    """Events (kind, neuron) of a spike train, bool (T, n): spikes in order, then the step's marker."""
    events = []
    for step, fired in enumerate(trains):
        events += [(SPIKE, neuron) for neuron, spike in enumerate(fired) if spike]
        events.append((SAMPLE_END if step == len(trains) - 1 else STEP_END, 0))
    return events


def pack(events: list[tuple[int, int]]) -> list[int]:
    """Spike events as payload integers."""
    return [kind | neuron << 2 for kind, neuron in events]
