"""Co-simulation of a network: emit the Verilog, build it, play images, compare every step."""

from __future__ import annotations

import enum
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import EVENT_BYTES, Command, command_bytes, reply_bytes, sample_command
from lifstream.golden.files import is_there
from lifstream.golden.model.learning import require_learning
from lifstream.golden.study.datasets import Split
from lifstream.golden.study.model_files import Model, save_model
from lifstream.golden.study.training import Progress
from lifstream.sim.checkpoint import POINT, require_checkpoint
from lifstream.sim.faults import Fault, require_plantable
from lifstream.sim.harness import CLOCK_NS, Harness, write_harness
from lifstream.sim.runner import (
    Build,
    Optimise,
    SimulationDied,
    Simulator,
    build,
    require_tools,
    run_bench,
    wave_format,
)
from lifstream.sim.scoreboard import Divergence
from lifstream.sim.views import write_views

__all__ = ["STALL_MODES", "Continuation", "CosimResult", "RecordedWindow", "Recording", "Segment",
           "Stalls", "Surroundings", "Window", "cosimulate"]

_BENCH = "lifstream.sim.tb_network"
_BATCH = 100
_LONG_RUN = 50_000  # images times neurons from which an optimised build pays
_CHECKPOINTS = 2    # changes with what a checkpoint holds: no run continues from an older one


class Stalls(enum.StrEnum):
    """How the surroundings of the design behave on its streams."""

    NONE = "none"
    """Always ready."""
    RANDOM = "random"
    """Random bursts of stalls on every stream, either side."""
    POLITE = "polite"
    """Ready only after valid was seen."""
    HEAVY = "heavy"
    """Stalled most of the time."""


STALL_MODES = {Stalls.NONE: 0, Stalls.RANDOM: 1, Stalls.POLITE: 2, Stalls.HEAVY: 3}
"""Number of each mode in the harness."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Images to play in one go."""

    split: str
    """Which of the splits given: ``train`` or ``test``."""
    order: NDArray[np.int64]
    """int64 (count,): indices of the images."""
    rate_shift: int | None = None
    """Learn from each image with this rate shift; None only classifies."""
    check_every: int = 1_000
    """Compare all weights after this many images, and at the segment's end."""
    label: bool = False
    """Label the neurons of a network with plasticity by their responses to these images."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The waveform around a divergence, recorded in a replay."""

    file: Path
    """VCD or FST by the name's ending."""
    clocks: int = 500
    """Clocks that are recorded, four fifths of them before the divergence."""

    def around(self, first: int, last: int) -> tuple[int, int]:
        """First and last clock to record of what came about between two clocks."""
        after = self.clocks // 5
        return max(1, first - (self.clocks - after)), last + after


@dataclass(frozen=True, kw_only=True)
class RecordedWindow:
    """What was recorded of a divergence in a replay."""

    file: str
    first_clock: int
    """With which the waveform begins; clocks are counted from the replay's start, as in :class:`Divergence`."""
    last_clock: int
    clock: int
    """Of the divergence; of what is read back, the clock in which the image's learning was done with."""
    time_ns: int
    """When ``clock`` begins in the waveform."""
    replayed: str
    """What was replayed: ``image 7``, ``images 3 to 7``, or ``the run``."""

    def __str__(self) -> str:
        return (f"waveform of clocks {self.first_clock} to {self.last_clock} in {self.file}, of a replay of "
                f"{self.replayed}, there at clock {self.clock}, {self.time_ns} ns")


@dataclass(frozen=True, kw_only=True)
class CosimResult:
    """What a co-simulation found."""

    bit_exact: bool
    images: int
    """Images compared, the diverging one's batch included."""
    predictions: NDArray[np.int64]
    """int64 (images,): the design's predictions, -1 for a tie."""
    cycles_per_image: float | None
    """Clock cycles from the first pixel of a batch to its last result, per image."""
    loading_cycles: int
    """Clock cycles of loading all weights."""
    images_per_second: float
    """Wall-clock rate of simulation and comparison, without building and loading."""
    divergence: dict[str, Any] | None
    """First divergence, see :class:`lifstream.sim.scoreboard.Divergence`."""
    mismatches: list[dict[str, Any]]
    """The first mismatches in order of cause, at most ten; the first is the divergence."""
    message: str
    """One line: the divergence or the broken rule; empty when bit-exact."""
    segments: list[dict[str, Any]]
    """Per segment: split, whether it was learnt from, images, the design's accuracy."""
    history: list[dict[str, Any]]
    """Per batch: images so far, correct ones, the design's counters, and ``clocks``: clock cycles from the design's
    answer to CLEAR_COUNTERS to the one with the counters."""
    counters: dict[str, Any]
    """The design's counters at the end."""
    digest: str
    """Digest of the golden weights at the end, which the design's equal."""
    window: RecordedWindow | None = None
    """The waveform around the divergence."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What is around the design."""

    stalls: Stalls = Stalls.NONE
    """Behaviour of the streams."""
    seed: int = 1
    """Of the stalls' randomness, and of the fault's place."""
    fault: Fault | None = None
    """Plant this fault; the result is expected not to be bit-exact."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What is kept of a run beside its result."""

    waves: Path | None = None
    """Write a waveform here, VCD or FST by the name's ending."""
    window: Window | None = None
    """Without ``waves``: after a divergence, replay what led to it and record this."""
    folder: Path | None = None
    """Keep stimuli, captures and logs here; by default they are deleted, unless the bench dies."""


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """How a run goes on in another call."""

    checkpoint: Path | None = None
    """After every comparison of all weights, write down here what a later call needs to continue."""
    resume: bool = False
    """Continue from the checkpoint if the file is there."""


_UNDISTURBED, _UNRECORDED, _AT_ONCE = Surroundings(), Recording(), Continuation()


def cosimulate(model: Model, splits: dict[str, Split], segments: Sequence[Segment], *, verilog: str,
               description: dict[str, Any], simulator: Simulator = Simulator.VERILATOR,
               surroundings: Surroundings = _UNDISTURBED, recording: Recording = _UNRECORDED,
               continuation: Continuation = _AT_ONCE, report: Callable[[Progress], None] | None = None) -> CosimResult:
    """Play images through the Verilog and compare every spike, membrane potential, desire and weight.

    Parameters
    ----------
    model
        Supplies the weights to start from.
    splits
        Images and labels by name.
    segments
        What to play, in order.
    verilog, description
        The design: ``top.v`` and ``top.v.json``.
    simulator
        What it runs in.
    surroundings
        Stalls, and a planted fault.
    recording
        What is kept of the run.
    continuation
        Checkpoints.
    report
        Is told the progress.

    Raises
    ------
    InputError
        The design's contract is not the model's, a tool is missing, there are no images, nothing that the fault could
        falsify, a waveform's format is unknown, or the checkpoint is of another run.
    KeyboardInterrupt
        Interrupted: the simulation has ended, temporary files are gone, the message says what was kept.
    """
    waves, checkpoint = recording.waves, continuation.checkpoint
    waves_format = None if waves is None else wave_format(waves)
    require_tools(simulator, waves_format)
    spec = model.network.spec
    if description.get("spec_digest") != spec.digest():
        raise InputError(f"the design's contract is {description.get('spec_digest')}, the model's "
                         f"{spec.digest()}; generate the Verilog from the model's own contract")
    total = sum(len(segment.order) for segment in segments)
    if any(segment.rate_shift is not None for segment in segments):
        require_learning(spec)
    if total == 0:
        raise InputError("images: none to play, give at least 1")
    if surroundings.fault is not None:
        require_plantable(surroundings.fault, spec, labels=any(segment.label for segment in segments),
                          learns=any(segment.rate_shift is not None for segment in segments))
    segment_values = [{"split": segment.split, "order": f"order_{index}", "rate_shift": segment.rate_shift,
                       "check_every": segment.check_every, "label": segment.label}
                      for index, segment in enumerate(segments)]
    arrays: dict[str, NDArray[Any]] = {}
    for name in {segment.split for segment in segments}:
        arrays[f"{name}_images"], arrays[f"{name}_labels"] = splits[name].images, splits[name].labels
    for index, segment in enumerate(segments):
        arrays[f"order_{index}"] = segment.order
    run = _name_of_run([_CHECKPOINTS, model.network.digest(), surroundings.seed, segment_values], arrays)
    counts = [len(segment.order) for segment in segments]
    with _saying_what_was_kept(checkpoint, run, spec, counts), _workplace(recording.folder) as work:
        continued = checkpoint if continuation.resume and checkpoint is not None and is_there(checkpoint) else None
        if continued is not None:
            require_checkpoint(continued, run=run, spec=spec, played=counts)
            # The checkpoint is written anew while the run goes on.
            continued = Path(shutil.copyfile(continued, work / "continued.npz"))
        batch = min(_BATCH, total)
        longest = _longest_packet(spec, splits, segments)
        harness = _harness(spec, description, batch, longest)
        if report is not None:
            report(Progress(task=f"build with {simulator}", done=0, total=1))
        optimise = Optimise.RUN if total * (spec.inputs + spec.neurons) > _LONG_RUN else Optimise.BUILD
        built = build(verilog=verilog, harness=harness, description=description, simulator=simulator,
                      optimise=optimise, waves=waves_format)
        if report is not None:
            report(Progress(task=f"build with {simulator}", done=1, total=1))

        model_file, arrays_file = work / "model.npz", work / "arrays.npz"
        save_model(model_file, model)
        np.savez(arrays_file, allow_pickle=False, **arrays)

        def on_progress(line: dict[str, Any]) -> None:
            if report is not None:
                report(Progress(task="co-simulate", done=line["done"], total=line["total"]))

        configuration = {
            "model": str(model_file.resolve()), "arrays": str(arrays_file.resolve()), "batch": batch, "total": total,
            "segments": segment_values, "run": run,
            "checkpoint": str(checkpoint.resolve()) if checkpoint is not None else "",
            "resume": str(continued.resolve()) if continued is not None else "",
            "stall_mode": STALL_MODES[surroundings.stalls], "seed": surroundings.seed,
            "fault": surroundings.fault.value if surroundings.fault else "",
            "monitors": list(harness.monitors), "until": total, "point": recording.window is not None,
            "window": None}
        raw = run_bench(built, module=_BENCH, folder=work, report=on_progress, configuration=configuration)
        if waves is not None:
            shutil.move(work / f"waves.{waves_format}", waves)
            write_views(waves, description)
        divergence = raw["divergence"]
        message = raw["error"] or (str(Divergence(**divergence)) if divergence else "")
        window, wanted = None, recording.window
        if wanted is not None and waves is None and divergence is not None:
            form = wave_format(wanted.file)
            if report is not None:
                report(Progress(task="replay the divergence", done=0, total=1))

            def make(optimise: Optimise) -> Build:
                return build(verilog=verilog, description=description, simulator=simulator, optimise=optimise,
                             waves=form, window=True,
                             harness=_harness(spec, description, batch, longest, record=f"waves.{form}"))

            try:
                window = _record(wanted, raw, configuration, work=work, optimise=optimise, make=make)
            except (InputError, SimulationDied, KeyboardInterrupt) as problem:
                # The divergence is worth more than its picture.
                why = {SimulationDied: "the replay died", KeyboardInterrupt: "interrupted"}
                message += f"; no waveform: {why.get(type(problem), str(problem))}"
            else:
                if window is not None:
                    write_views(wanted.file, description, clock=window.clock)
                    message += f"; {window}"
            if report is not None:
                report(Progress(task="replay the divergence", done=1, total=1))
    return CosimResult(
        bit_exact=raw["bit_exact"], images=raw["images"],
        predictions=np.array(raw["predictions"], dtype=np.int64),
        cycles_per_image=raw["cycles_per_image"], loading_cycles=raw["loading_cycles"],
        images_per_second=raw["images_per_second"], divergence=divergence, mismatches=raw["mismatches"],
        message=message, segments=raw["segments"], history=raw["history"], counters=raw["counters"],
        digest=raw["digest"], window=window)


def _harness(spec: NetworkSpec, description: dict[str, Any], images: int, longest: int, *, record: str | None = None
             ) -> Harness:
    """A harness for batches of so many images, whose packets have ``longest`` bytes at most."""
    weights = command_bytes(spec, Command.LOAD_WEIGHTS)
    return write_harness(
        description, samples=images, stimulus_depth=max(weights, images * longest) + 16,
        capture_depth=max(weights, images * (reply_bytes(spec, sample_command(spec, learn=False)) + 2))
        + reply_bytes(spec, Command.STATUS) + 16, record=record)


_SAME = ("image", "step", "layer", "quantity", "neuron", "row", "column", "expected", "got")
"""What two runs must agree in for a divergence to be the same."""


def _record(window: Window, raw: dict[str, Any], configuration: dict[str, Any], *, work: Path, optimise: Optimise,
            make: Callable[[Optimise], Build]) -> RecordedWindow | None:
    """Record the waveform around the divergence of a run, in a replay that is as short as it may be.

    The golden model knows what had been learnt before the image that diverged; this is loaded and the image played
    alone. Of what is read back, all images are played since it was equal, one by one. If that does not diverge alike,
    because what went wrong hangs together with what came before, the whole run is played again.

    Returns None if the divergence has no place in a waveform.
    """
    found = Divergence(**raw["divergence"])
    if found.path is None:
        return None
    clock = raw["quiet"] if found.clock is None else found.clock
    first, last = found.first_clock or clock, clock
    replayed = "the run"
    built = make(Optimise.BUILD)
    folder = work / "replay"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(work / POINT, folder / POINT)
    alone = {**configuration, "batch": 1, "until": found.image + 1, "resume": str((folder / POINT).resolve()),
             "checkpoint": "", "point": False,
             # Neurons are labelled by all images of a segment.
             "segments": [{**segment, "label": False, **({"check_every": 1} if found.read_back else {})}
                          for segment in configuration["segments"]]}
    again = run_bench(built, module=_BENCH, folder=folder, configuration=alone)
    if again["divergence"] is not None and _same(found, Divergence(**again["divergence"])):
        same = Divergence(**again["divergence"])
        clock = again["quiet"] if same.clock is None else same.clock
        first, last = same.first_clock or clock, clock
        begun = same.image - again["replayed"] + 1
        replayed = f"image {same.image}" if begun == same.image else f"images {begun} to {same.image}"
        replay = alone
    else:
        built = make(optimise)
        replay = {**configuration, "checkpoint": "", "point": False}
    recorded = window.around(first, last)
    run_bench(built, module=_BENCH, folder=folder, configuration={**replay, "window": recorded})
    shutil.move(folder / f"waves.{built.waves}", window.file)
    return RecordedWindow(file=str(window.file), first_clock=recorded[0], last_clock=recorded[1], clock=clock,
                          time_ns=CLOCK_NS * clock, replayed=replayed)


def _same(found: Divergence, other: Divergence) -> bool:
    """Whether a replay has found what the run found; what is read back, perhaps some images earlier."""
    names = _SAME[1:-2] if found.read_back else _SAME
    return all(getattr(found, name) == getattr(other, name) for name in names)


def _longest_packet(spec: NetworkSpec, splits: dict[str, Split], segments: Sequence[Segment]) -> int:
    """Bytes of the longest sample's packet."""
    if not isinstance(spec.input, Events):
        return spec.inputs + 2
    spikes = max(int(np.bitwise_count(splits[segment.split].images[segment.order]).sum(axis=1, dtype=np.int64).max())
                 for segment in segments if len(segment.order))
    return EVENT_BYTES * spikes + 2


def _name_of_run(values: list[Any], arrays: dict[str, NDArray[Any]]) -> str:
    """What a checkpoint is known by: the start, and everything that is to be played."""
    run = hashlib.sha256(json.dumps(values).encode())
    for name in sorted(arrays):
        run.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        run.update(np.ascontiguousarray(arrays[name]).data)
    return run.hexdigest()


@contextmanager
def _saying_what_was_kept(checkpoint: Path | None, run: str, spec: NetworkSpec, counts: list[int]) -> Iterator[None]:
    """Give an interrupt a message."""
    try:
        yield
    except KeyboardInterrupt:
        kept = "nothing was kept"
        if checkpoint is not None:
            kept += f", {checkpoint} is written when all weights have been compared"
            with suppress(InputError):  # there is none yet
                played = require_checkpoint(checkpoint, run=run, spec=spec, played=counts)
                kept = f"{checkpoint} holds the run up to image {played:,}; continue with the same command and --resume"
        raise KeyboardInterrupt(kept) from None


@contextmanager
def _workplace(folder: Path | None) -> Iterator[Path]:
    """The folder to run in. A temporary one is deleted at the end, unless the bench has died and its log explains."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    work = Path(tempfile.mkdtemp(prefix="lifstream-cosim-"))
    try:
        yield work
    except RuntimeError:
        raise
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work, ignore_errors=True)
