"""View files beside a waveform: GTKWave and Surfer open it with signals in groups, and values by their names."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcd.gtkw import GTKWSave, make_translation_filter

from lifstream.golden.files import make_folder, write_text
from lifstream.sim.harness import CLOCK_NS, DUT

__all__ = ["Group", "Trace", "groups", "write_views"]

_PS = 1_000

_KINDS = {0: "SPIKE", 1: "STEP_END", 2: "SAMPLE_END", 3: "LEARN"}
"""Of spike events."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A signal in a view."""

    path: str
    width: int
    signed: bool = False
    names: tuple[tuple[int, str], ...] = ()
    """Values that have names."""

    @property
    def format_name(self) -> str:
        """What the names of its values are called in Surfer, a file's name in GTKWave."""
        return "lifstream_" + self.path.removeprefix(f"{DUT}.").removeprefix("harness.").replace(".", "_")


@dataclass(frozen=True, kw_only=True)
class Group:
    """Signals, and groups of them, under a title."""

    title: str
    traces: tuple[Trace, ...] = ()
    inner: tuple[Group, ...] = ()

    def walk(self) -> Iterator[Trace]:
        """All traces, those of the inner groups last."""
        yield from self.traces
        for group in self.inner:
            yield from group.walk()


def groups(description: dict[str, Any]) -> list[Group]:
    """What is worth seeing of a network in its harness.

    Parameters
    ----------
    description
        Content of ``top.v.json``.
    """
    named = {each["path"]: Trace(path=f"{DUT}.{each['path']}", width=each["width"],
                                 names=tuple((int(value), name) for value, name in each["names"].items()))
             for each in description["enumerations"]}

    def machines(below: str, *directly: str) -> tuple[Trace, ...]:
        """State machines below a path, and signals directly there whose values have names."""
        return tuple(trace for path, trace in named.items() if path.startswith(below) and (
            path.endswith("_state") or path.removeprefix(below) in directly))

    def stream(path: str, width: int, joint: str = "__") -> tuple[Trace, ...]:
        return (Trace(path=f"{path}{joint}valid", width=1), Trace(path=f"{path}{joint}ready", width=1),
                Trace(path=f"{path}{joint}payload", width=width))

    def spikes(tap: dict[str, Any]) -> Group:
        name = f"harness.tap_{tap['name']}"
        return Group(title="spikes", traces=(
            Trace(path=f"{name}_fire", width=1),
            Trace(path=f"{name}_kind", width=2, names=tuple(_KINDS.items())),
            Trace(path=f"{name}_neuron", width=tap["fields"]["neuron"]["width"]),
            Trace(path=f"{name}_spikes", width=tap["neurons"])))

    taps = {tap["name"]: tap for tap in description["taps"]}
    outer = [Trace(path=f"harness.{name}", width=1) for name in ("clk", "rst", "go")]
    host = Group(title="host", traces=(
        *outer, Trace(path="harness.cycle", width=32),
        *(trace for each in description["streams"]
          for trace in stream(f"harness.{each['name']}", each["width"], "_")),
        *machines("reader.", "command", "status"), *machines("sender.")))
    result = [host, Group(title="encoder", traces=machines("network.encoder."), inner=(spikes(taps["encoder"]),))]
    for membrane in description["membranes"]:
        layer = membrane["layer"]
        path = f"network.layer_{layer}."
        inside = [group for group in description["groups"] if group["layer"] == layer]
        inner = [
            Group(title="state machines", traces=machines(path, "phase", "update_slot")),
            spikes(taps[f"layer_{layer}"]),
            *(Group(title=f"currents, group {group['group']}", traces=tuple(
                Trace(path=f"{DUT}.{each['path']}", width=each["width"], signed=True) for each in group["currents"]))
              for group in inside),
            Group(title="membrane potentials", traces=(
                Trace(path=f"{DUT}.{membrane['valid']}", width=1),
                *(Trace(path=f"{DUT}.{signal}", width=membrane["width"], signed=True)
                  for signal in membrane["signals"]))),
            *(Group(title="desires", traces=stream(f"{DUT}.{tap['path']}", tap["width"]))
              for tap in (taps.get(f"desires_{layer}"),) if tap is not None),
            *(Group(title=f"weight memory, group {group['group']}", traces=tuple(
                Trace(path=f"{DUT}.{each['path']}", width=each["width"]) for each in group["weights"]))
              for group in inside)]
        result.append(Group(title=f"layer {layer}", inner=tuple(inner)))
    result.append(Group(title="readout", traces=machines("network.readout.")))
    return [group for group in result if any(group.walk())]


def write_views(waves: Path, description: dict[str, Any], *, clock: int | None = None) -> list[Path]:
    """Write ``WAVES.gtkw``, ``WAVES.sucl`` and the folder ``WAVES.names`` beside a waveform; returns what was written.

    Parameters
    ----------
    waves
        The waveform.
    description
        Content of ``top.v.json``, of what was recorded.
    clock
        Clock to put the marker on.

    Raises
    ------
    InputError
        They cannot be written.
    """
    shown = groups(description)
    names = waves.with_suffix(".names")
    gtkwave, surfer = make_folder(names / "gtkwave"), make_folder(names / ".surfer" / "mnemonic")
    for trace in (trace for group in shown for trace in group.walk() if trace.names):
        write_text(gtkwave / f"{trace.format_name}.txt", make_translation_filter(trace.names, size=trace.width) + "\n")
        write_text(surfer / f"{trace.format_name}.txt", f"Name: {trace.format_name}\nBits: {trace.width}\n" + "".join(
            f"{value:#x} {name}\n" for value, name in trace.names))
    files = {waves.with_suffix(".gtkw"): _gtkwave(waves, shown, gtkwave, clock),
             waves.with_suffix(".sucl"): _surfer(shown, clock)}
    for path, text in files.items():
        write_text(path, text)
    return [*files, names]


def _gtkwave(waves: Path, shown: list[Group], names: Path, clock: int | None) -> str:
    text = io.StringIO()
    save = GTKWSave(text)
    save.dumpfile(str(waves.resolve()))
    save.treeopen("harness.")
    save.treeopen(f"{DUT}.")
    if clock is not None:
        save.zoom_markers(-18.0, _PS * CLOCK_NS * clock)

    def put(group: Group, *, closed: bool) -> None:
        with _group(save, group.title, closed=closed):
            for trace in group.traces:
                save.trace(
                    trace.path if trace.width == 1 else f"{trace.path}[{trace.width - 1}:0]",
                    alias=trace.path.rsplit(".", 1)[1], datafmt="signed" if trace.signed else "hex",
                    translate_filter_file=str((names / f"{trace.format_name}.txt").resolve()) if trace.names else None)
            for inner in group.inner:
                put(inner, closed=inner.title.startswith(("currents", "weight memory")))

    for group in shown:
        put(group, closed=False)
    return text.getvalue()


@contextmanager
def _group(save: GTKWSave, title: str, *, closed: bool) -> Iterator[None]:
    with save.group(title, closed=closed):
        yield


def _surfer(shown: list[Group], clock: int | None) -> str:
    lines: list[str] = []

    def put(group: Group, title: str) -> None:
        if group.traces:
            lines.append(f"divider_add {title}")
        for trace in group.traces:
            lines.append(f"variable_add {trace.path}")
            if trace.names or trace.signed:
                lines.append(f"item_set_format {trace.format_name if trace.names else 'Signed'}")
        for inner in group.inner:
            put(inner, f"{title}: {inner.title}")

    for group in shown:
        put(group, group.title)
    if clock is not None:
        lines += [f"cursor_set {_PS * CLOCK_NS * clock}", "goto_cursor"]
    return "\n".join([*lines, ""])
