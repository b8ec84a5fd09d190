"""What the commands do, as functions for Python: they join the rooms, and ``import lifstream`` offers them.

What a function needs beside NumPy is imported when it is called. Where an optional package is missing, InputError says
which extra brings it.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lifstream.extras import Extra, naming_extras, require
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import BAUD, Command, command_bytes
from lifstream.golden.files import make_folder, write_text
from lifstream.golden.model.network import Network
from lifstream.golden.study.cost import synaptic_operations
from lifstream.golden.study.datasets import Dataset, Split
from lifstream.golden.study.epochs import EpochStream
from lifstream.golden.study.example import example_exchanges, example_sample
from lifstream.golden.study.model_files import Model, find_model, load_model, released_models, save_model
from lifstream.golden.study.own_data import RANDOM, data_name, load_data
from lifstream.golden.study.presets import Preset, preset_by_name, preset_in_words
from lifstream.golden.study.training import EpochMetrics, Progress, Trainer, labelling_images, usual_engine
from lifstream.golden.study.training import evaluate as evaluate_split
from lifstream.golden.twin.engine import Engine, Outcome, Runner
from lifstream.hdl.geometry import Geometry
from lifstream.sim.cosim import Continuation, CosimResult, Recording, Segment, Surroundings
from lifstream.sim.cosim import cosimulate as cosimulate_design
from lifstream.sim.runner import Simulator

if TYPE_CHECKING:
    from lifstream.boards.flow import Build, Watch
    from lifstream.boards.host import Board
    from lifstream.boards.targets import Target
    from lifstream.hdl.emit import Emission

__all__ = ["Evaluation", "Generated", "Interface", "build_bitstream", "connect", "cosimulate", "emit", "evaluate",
           "load", "network", "play", "playlist", "preset", "save", "simulated_board", "train", "untrained",
           "write_verilog"]

Report = Callable[[Progress], None]

_SIMULATED_PATIENCE = 30.0
"""Seconds to wait for an acknowledgement from a simulation, which is some thousand times slower than a board."""

_SIMULATED_SILENCE = 600.0
"""Seconds to wait for the next part of a simulation's reply; gates are slower still."""


class Interface(enum.StrEnum):
    """What a generated core looks like from outside."""

    BYTES = "bytes"
    """Two streams of bytes."""
    AXI = "axi"
    """AXI4-Stream for packets, AXI4-Lite for control and counters."""


# -- networks --------------------------------------------------------------------------------------------


def network(words: str, *, dataset: str) -> Preset:
    """A network in words, such as ``"conv 16 5x5/2, dense 10"``, for the samples of a data set.

    Parameters
    ----------
    words
        Layers, separated by commas; see ``docs/training.md``.
    dataset
        Name or place of the data set (:func:`load_data`), which gives the first layer's inputs and the classes.

    Raises
    ------
    InputError
        The words are none, or the data set is unknown.
    """
    return preset_in_words(words, dataset=dataset)


def preset(name: str) -> Preset:
    """A network by name (:data:`PRESETS`); ``preset(...).varied(weight_bits=12)`` changes it.

    Raises
    ------
    InputError
        There is none of that name.
    """
    return preset_by_name(name)


def untrained(of: Preset | NetworkSpec, *, seed: int = 1) -> Model:
    """A model with the random weights from which learning starts."""
    if isinstance(of, NetworkSpec):
        return Model(network=Network.initial(spec=of, seed=seed), preset="custom", dataset=RANDOM)
    return Model(network=Network.initial(spec=of.spec, seed=seed), preset=of.name, dataset=data_name(of.dataset),
                 training={"plan": asdict(of.training)})


def load(name: str | Path, *, like: Preset | None = None) -> Model:
    """A model by file or released name (:func:`released_models`).

    Parameters
    ----------
    name
        Path of a model file, or name of a released model.
    like
        The network that it must be of, if any.

    Raises
    ------
    InputError
        There is no such model, the file is damaged, or it is of another network.
    """
    return load_model(find_model(str(name)), expected=None if like is None else like.spec)


def save(model: Model, path: str | Path) -> None:
    """Write a model file, which every command takes; whole or not at all.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    save_model(Path(path), model)


# -- accuracy --------------------------------------------------------------------------------------------


def _dataset(given: Dataset | str | None, usual: str, spec: NetworkSpec) -> Dataset:
    """The data set given by itself, by name or place, or the usual one; raises InputError when it does not fit."""
    dataset = given if isinstance(given, Dataset) else load_data(given or usual, like=spec)
    dataset.require_fit(spec)
    return dataset


def train(of: Preset, dataset: Dataset | str | None = None, *, seed: int = 1, engine: Engine | None = None,
          checkpoint: str | Path | None = None, report: Report | None = None,
          on_epoch: Callable[[EpochMetrics, float], None] | None = None) -> Model:
    """Train a network in the golden model, one image at a time, exactly as the hardware learns.

    Parameters
    ----------
    of
        Network and training plan; ``of.planned(epochs=3)`` changes the plan.
    dataset
        Samples, by themselves, by name or by place; by default those that the network is for.
    seed
        Fixes initial weights, validation images, order and shifts.
    engine
        What computes, by default compiled kernels where numba is installed; the weights do not depend on it.
    checkpoint
        File that is written every 2,000 images; if it is there, training goes on from it.
    report
        Is told the progress.
    on_epoch
        Is called after each epoch with its metrics and the rate in images/s.

    Returns
    -------
    Model
        Its ``training`` holds what each epoch measured (``epochs``), and ``test_accuracy``.

    Raises
    ------
    InputError
        Network and data set do not fit, or the checkpoint is of another run.
    """
    trainer = Trainer(preset=of, dataset=_dataset(dataset, of.dataset, of.spec), seed=seed, engine=engine,
                      checkpoint=None if checkpoint is None else Path(checkpoint))
    trainer.resume()
    with naming_extras():
        trainer.run(report, on_epoch)
        return trainer.tested(report)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a model did with the test samples of a data set."""

    accuracy: float
    """Fraction, 0..1; a tie counts as wrong."""
    ties: float
    """Fraction of ties."""
    spikes_per_image: list[float]
    """Of the input, then of each layer."""
    operations_per_image: float
    """Synaptic operations: weights added to a current."""
    images: int
    images_per_second: float
    """Without compiling."""
    engine: Engine
    outcome: Outcome
    """Sample by sample."""


def evaluate(model: Model, dataset: Dataset | str | None = None, *, engine: Engine | None = None,
             report: Report | None = None) -> Evaluation:
    """Accuracy and activity of a model on the test samples of a data set, by default of the one it was trained on.

    Raises
    ------
    InputError
        Model and data set do not fit, or the engine is not installed.
    """
    chosen, engine = model.network, engine or usual_engine()
    found = _dataset(dataset, model.dataset, chosen.spec)
    with naming_extras():
        Runner(network=chosen, engine=engine).prepare(learning=False)
        started = time.perf_counter()
        fraction, outcome = evaluate_split(chosen, found.test, engine=engine, task="test", report=report)
    spikes = outcome.spikes.mean(axis=0).tolist()
    return Evaluation(accuracy=fraction, ties=float((outcome.predictions < 0).mean()), spikes_per_image=spikes,
                      operations_per_image=synaptic_operations(chosen.spec, spikes[:-1]), images=len(found.test),
                      images_per_second=len(found.test) / (time.perf_counter() - started), engine=engine,
                      outcome=outcome)


# -- Verilog ---------------------------------------------------------------------------------------------


def _spec_of(of: Model | Preset | NetworkSpec) -> tuple[NetworkSpec, str]:
    """A network's contract, and its name."""
    if isinstance(of, Model):
        return of.network.spec, of.preset
    return (of, "custom") if isinstance(of, NetworkSpec) else (of.spec, of.name)


@naming_extras()
def emit(of: Model | Preset | NetworkSpec, *, geometry: Geometry | None = None, name: str = "top",
         interface: Interface = Interface.BYTES, axi_width: int = 4) -> Emission:
    """A network's Verilog and its description. The weights are no part of it: the host loads them.

    Parameters
    ----------
    of
        The network.
    geometry
        How it is folded; by default with as many lanes as the widest layer has neurons.
    name
        Of the module; all inner modules begin with it.
    interface
        Its ports.
    axi_width
        With AXI: bytes of a stream word, 1, 2, 4 or 8.

    Raises
    ------
    InputError
        A name, width or geometry is impossible, or amaranth is not installed.
    """
    from lifstream.hdl.emit import emit_axi, emit_network

    spec, called = _spec_of(of)
    geometry = geometry or Geometry(lanes=spec.widest)
    if interface is Interface.AXI:
        return emit_axi(spec=spec, geometry=geometry, width=axi_width, preset=called, name=name)
    return emit_network(spec=spec, geometry=geometry, preset=called, name=name)


@dataclass(frozen=True, kw_only=True)
class Generated:
    """Verilog in a folder."""

    files: list[Path]
    description: dict[str, Any]
    """What ``NAME.v.json`` says."""
    bench: bool
    """Whether a bench is among the files; its weights may be too many for a text."""
    registers: bool | None = None
    """Behind AXI: whether page and test bench model of the registers are; they need the extra ``registers``."""


@naming_extras()
def write_verilog(of: Model | Preset, folder: str | Path, *, geometry: Geometry | None = None, name: str = "top",
                  interface: Interface = Interface.BYTES, axi_width: int = 4) -> Generated:
    """Write a network's Verilog, its description (JSON), an instantiation template, a bench and more into a folder.

    Behind AXI a C driver and the register map belong to it.

    The bench shows the network an image and compares its answer. It loads the model's weights; of a preset, those of
    the released model of its name, or else random ones. Other parameters, and errors, as of :func:`emit`.
    """
    from lifstream.boards.c_driver import driver_files, network_header
    from lifstream.hdl.rdl import SOURCE, can_export, compile_rdl, write_html, write_model
    from lifstream.hdl.usage import companions

    model, weights = (of, "the model's") if isinstance(of, Model) else model_of_preset(of)
    emission = emit(model, geometry=geometry, name=name, interface=interface, axi_width=axi_width)
    further, place, axi = companions(emission.description), Path(folder), interface is Interface.AXI
    if axi:
        further |= {f"driver/{file}": text for file, text in driver_files().items()}
        further |= {f"driver/{name}_network.h": network_header(model.network.spec, name=name),
                    SOURCE.name: SOURCE.read_text()}
    bench = _bench(model.network, emission.description, weights)
    if bench is not None:
        further[f"{name}_tb.v"] = bench
    written = emission.write(make_folder(place))
    for file, content in further.items():
        make_folder((place / file).parent)
        write_text(place / file, content)
        written.append(place / file)
    registers = can_export() if axi else None
    if registers:
        compiled = compile_rdl()
        written += [write_html(compiled, place / "registers"), write_model(compiled, place / "python")]
    return Generated(files=written, description=emission.description, bench=bench is not None, registers=registers)


def model_of_preset(chosen: Preset) -> tuple[Model, str]:
    """The released model of a preset's name if it has the preset's contract, or random weights; and which it is."""
    if chosen.name in released_models():
        released = load(chosen.name)
        if released.network.spec == chosen.spec:
            return released, f"the released model {chosen.name}"
    return untrained(chosen), "random, seed 1"


def _bench(of: Network, description: dict[str, Any], weights: str) -> str | None:
    """A Verilog bench that shows the network an image; None when it would be too long."""
    from lifstream.hdl.usage import BENCH_BYTES_MAX, write_bench

    if command_bytes(of.spec, Command.LOAD_WEIGHTS) > BENCH_BYTES_MAX:
        return None
    sample, label, what = example_sample(of.spec)
    exchanges = example_exchanges(of, sample)
    if sum(len(each.command) for each in exchanges) > BENCH_BYTES_MAX:
        return None
    return write_bench(description, exchanges, label=label,
                       about=f"Weights: {weights}, digest {of.digest()}. {what}")


# -- co-simulation ---------------------------------------------------------------------------------------


def playlist(model: Model, dataset: Dataset, *, train: bool = False, images: int | None = None, epochs: int = 1,
             check_every: int = 1_000, test_images: int = 1_000, label_images: int = 1_000, seed: int = 1
             ) -> tuple[dict[str, Split], list[Segment]]:
    """Images by name, and what is played of them in order; parameters as of :func:`cosimulate`.

    Raises
    ------
    InputError
        A number is out of bounds; its name comes first in the message.
    """
    plan = model.plan
    available = len(dataset.train if train else dataset.test)
    count = images if images is not None else available if train else min(100, available)
    for name, value, high in (("images", count, available), ("epochs", epochs, 10_000),
                              ("check-every", check_every, 1 << 31), ("test-images", test_images, 1 << 31),
                              ("label-images", label_images, 10_000)):
        if not 1 <= value <= high:
            raise InputError(f"{name}: {value} is out of bounds, must be 1..{high}")
    splits = {"test": dataset.test}
    if not train:
        return splits, [Segment(split="test", order=np.arange(count))]
    trained = len(model.training.get("epochs", []))
    segments = []
    for number in range(trained, trained + epochs):
        splits[f"epoch {number}"] = EpochStream(dataset=dataset, training=dataset.train, seed=seed, epoch=number,
                                                shift=plan.shift, mirror=plan.mirror)[:count]
        segments.append(Segment(split=f"epoch {number}", order=np.arange(count),
                                rate_shift=plan.rate_shift_at(number), check_every=check_every))
    if (labelled := labelling_images(model.network, dataset.train[:count])) is not None:
        splits["labels"] = labelled[:label_images]
        segments.append(Segment(split="labels", order=np.arange(len(splits["labels"])), label=True))
    segments.append(Segment(split="test", order=np.arange(min(test_images, len(dataset.test)))))
    return splits, segments


def cosimulate(model: Model, dataset: Dataset | str | None = None, *, train: bool = False, images: int | None = None,
               epochs: int = 1, check_every: int = 1_000, test_images: int = 1_000, label_images: int = 1_000,
               geometry: Geometry | None = None, simulator: Simulator = Simulator.VERILATOR,
               surroundings: Surroundings | None = None, recording: Recording | None = None,
               continuation: Continuation | None = None, report: Report | None = None) -> CosimResult:
    """Play images through a network's Verilog and compare every spike, membrane potential, desire and weight.

    Parameters
    ----------
    model
        Network and weights; :func:`untrained` makes one of a preset.
    dataset
        Samples, by themselves, by name or by place; by default those that the model was trained on.
    train
        Learn on chip from training images, then classify test images; otherwise only classify those.
    images
        How many; by default 100 to classify, all (per epoch) to learn from.
    epochs
        With ``train``: passes over the images.
    check_every
        With ``train``: compare all weights after so many images, and after each epoch.
    test_images
        With ``train``: test images to classify afterwards, at most.
    label_images
        With ``train``, unsupervised: training images by which neurons are labelled afterwards, at most.
    geometry
        How the network is folded; results never depend on it.
    simulator
        What the design runs in.
    surroundings
        Stalls on the streams, the seed of everything random, and a planted fault.
    recording
        A waveform to write, a folder to keep.
    continuation
        Checkpoints.
    report
        Is told the progress.

    Raises
    ------
    InputError
        Model and data set do not fit, a number is out of bounds, or a tool is missing.
    """
    surroundings = surroundings or Surroundings()
    splits, segments = playlist(model, _dataset(dataset, model.dataset, model.network.spec), train=train,
                                images=images, epochs=epochs, check_every=check_every, test_images=test_images,
                                label_images=label_images, seed=surroundings.seed)
    return play(model, splits, segments, geometry=geometry, simulator=simulator, surroundings=surroundings,
                recording=recording or Recording(), continuation=continuation or Continuation(), report=report)


@naming_extras()
def play(model: Model, splits: dict[str, Split], segments: list[Segment], *, geometry: Geometry | None = None,
         report: Report | None = None, **options: Any) -> CosimResult:
    """Emit the model's design, or take it from the cache, and co-simulate it; options as of :func:`cosimulate`."""
    require(Extra.SIM)
    from lifstream.hdl.emit import stored_network

    spec = model.network.spec
    emission = stored_network(spec=spec, geometry=geometry or Geometry(lanes=spec.widest), preset=model.preset)
    return cosimulate_design(model, splits, segments, verilog=emission.verilog, description=emission.description,
                             report=report, **options)


# -- boards ----------------------------------------------------------------------------------------------


def _target(board: str | Target) -> Target:
    from lifstream.boards.targets import target_by_name

    return target_by_name(board) if isinstance(board, str) else board


@naming_extras()
def build_bitstream(of: Model | Preset | NetworkSpec, board: str | Target, folder: str | Path, *,
                    geometry: Geometry | None = None, clock_mhz: float | None = None, baud: int | None = None,
                    seed: int = 1, watch: Watch | None = None) -> Build:
    """Make a board's bitstream: synthesise, place, route, pack, report. It holds no weights: the host loads them.

    Parameters
    ----------
    of
        The network.
    board
        ``icebreaker``, ``tang-nano-9k`` or ``ulx3s-85f``.
    folder
        For the build and its logs; steps that are finished there are not repeated.
    geometry
        How the network is folded; by default as suits the board.
    clock_mhz
        Clock of the core; by default the board's.
    baud
        Bits per second of the serial line; by default the board's.
    seed
        Of the placement.
    watch
        Is called with the step under way and what its tool says.

    Raises
    ------
    InputError
        The design does not fit, a number is impossible, or a tool is missing.
    """
    require(Extra.BOARDS)
    from lifstream.boards.flow import build

    target, (spec, _) = _target(board), _spec_of(of)
    return build(target, spec=spec, geometry=geometry or target.geometry(spec),
                 clock_mhz=clock_mhz or target.usual_clock_mhz(spec), baud=baud or target.baud,
                 folder=make_folder(Path(folder)), seed=seed, watch=watch or (lambda *_: None))


@naming_extras()
def connect(of: Model | Preset | NetworkSpec, port: str, *, baud: int = BAUD) -> Board:
    """The board on a serial port; use it in a ``with`` statement.

    Parameters
    ----------
    of
        The network that the board was built for. Nothing is loaded: ``board.load(model.network)`` does.
    port
        Name of the serial port.
    baud
        Bits per second.

    Raises
    ------
    InputError
        There is no such port, nothing answers, or the board holds a network of another contract.
    """
    from lifstream.boards.host import Board, open_port

    return Board(port=open_port(port, baud=baud), spec=_spec_of(of)[0])


@contextmanager
def simulated_board(of: Model | Preset | NetworkSpec, *, geometry: Geometry | None = None,
                    netlist_of: str | Target | None = None) -> Iterator[Board]:
    """A board without hardware, while the context lasts: simulated, UART pins and all, behind a pseudo-terminal.

    Parameters
    ----------
    of
        Its network.
    geometry
        How the network is folded.
    netlist_of
        Simulate the gates that synthesis makes of it for this board.

    Raises
    ------
    InputError
        A tool is missing, or the build failed.
    """
    require(Extra.SIM, Extra.VERILOG)
    with naming_extras():
        from lifstream.boards.host import Board, open_port
        from lifstream.boards.simulated import simulated_board as simulated_terminal

        target = None if netlist_of is None else _target(netlist_of)
    spec, _ = _spec_of(of)
    geometry = geometry or (Geometry(lanes=spec.widest) if target is None else target.geometry(spec))
    with simulated_terminal(spec=spec, geometry=geometry, netlist_of=target) as terminal, \
            Board(port=open_port(terminal, write_timeout=_SIMULATED_SILENCE), spec=spec, patience=_SIMULATED_PATIENCE,
                  silence=_SIMULATED_SILENCE) as board:
        yield board
