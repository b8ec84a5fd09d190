"""The commands of a board: infer, train, weights; on a serial port, or simulated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from numpy.typing import NDArray

from lifstream.console import Output, error_line
from lifstream.golden.datasets import load_dataset
from lifstream.golden.draws import DrawGenerator
from lifstream.golden.epochs import EpochStream
from lifstream.golden.learning import learn
from lifstream.golden.model import Model, save_model
from lifstream.golden.network import Network
from lifstream.golden.presets import Preset, preset_by_name
from lifstream.golden.spec import InputError
from lifstream.golden.training import Progress
from lifstream.options import (
    DataOption,
    JsonOption,
    LanesOption,
    SeedOption,
    WeightBitsOption,
    open_model,
    percent,
    require_file_place,
    require_fit,
)

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Use a board on a serial port, or a simulated one.")

PortOption = Annotated[str | None, typer.Option("--port", help="Serial port of the board.")]
ModelOption = Annotated[str | None, typer.Option(
    "--model", help="Model file or released model to load; default: random weights from --seed.")]
ImagesOption = Annotated[int, typer.Option("--images", help="Images to play.")]

_SIMULATED_PATIENCE = 30.0
"""Seconds to wait for an acknowledgement from a simulation, which is some thousand times slower than a board."""

_SIMULATED_SILENCE = 600.0
"""Seconds to wait for the next part of a simulation's reply; gates are slower still."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where the board is and what it holds."""

    port: str | None
    baud: int
    preset: Preset
    simulated: bool
    lanes: int | None
    netlist: str | None


@app.callback()
def choose(
    context: typer.Context,
    port: PortOption = None,
    baud: Annotated[int, typer.Option("--baud", help="Bits per second.")] = 3_000_000,
    preset: Annotated[str | None, typer.Option("--preset", help="With a port: the network the board was built for.")
                      ] = None,
    simulated: Annotated[str | None, typer.Option(
        "--simulated", metavar="PRESET", help="No board: simulate one with this network, UART pins and all, behind a "
                                              "pseudo-terminal.")] = None,
    weight_bits: WeightBitsOption = None,
    lanes: LanesOption = None,
    netlist: Annotated[str | None, typer.Option(
        "--netlist", metavar="BOARD", help="With --simulated: simulate the gates that synthesis makes of it for this "
                                           "board (icebreaker, ulx3s-85f), with its lanes.")] = None,
) -> None:
    """Use a board on a serial port (--port, --preset), or a simulated one (--simulated)."""
    if (preset is None) == (simulated is None):
        raise InputError("board: name the board's network with --preset, or simulate one with --simulated PRESET")
    if simulated is not None and port is not None:
        raise InputError("board: --port and --simulated exclude each other")
    if netlist is not None and simulated is None:
        raise InputError("board: --netlist needs --simulated")
    context.obj = _Place(port=port, baud=baud, lanes=lanes, simulated=simulated is not None, netlist=netlist,
                         preset=preset_by_name(simulated or preset or "").varied(weight_bits=weight_bits))


@contextmanager
def _connected(place: _Place, port: str | None) -> Iterator[Any]:
    """The board, connected."""
    from lifstream.boards.host import Board, open_port

    spec = place.preset.spec
    name = port or place.port
    if not place.simulated:
        if name is None:
            raise InputError("board: name its serial port with --port")
        with Board(port=open_port(name, baud=place.baud), spec=spec) as board:
            yield board
        return
    if name is not None:
        raise InputError("board: --port and --simulated exclude each other")
    from lifstream.boards.simulated import simulated_board
    from lifstream.boards.targets import target_by_name
    from lifstream.hdl.geometry import Geometry

    geometry = Geometry(lanes=max(spec.sizes[1:]) if place.lanes is None else place.lanes)
    target = None
    if place.netlist is not None:
        target = target_by_name(place.netlist)
        geometry = target.geometry(spec, lanes=place.lanes)
    with simulated_board(spec=spec, geometry=geometry, netlist_of=target) as terminal, \
            Board(port=open_port(terminal), spec=spec, patience=_SIMULATED_PATIENCE,
                  silence=_SIMULATED_SILENCE) as board:
        yield board


def _network(place: _Place, model: str | None, seed: int) -> Network:
    if model is None:
        return Network.initial(spec=place.preset.spec, seed=seed)
    return open_model(model, place.preset).network


def _checked_images(images: int, available: int) -> int:
    if not 1 <= images <= available:
        raise InputError(f"--images: {images} is out of bounds, must be 1..{available}")
    return images


def _differ(answer: Any, expected: Any) -> bool:
    """Whether a board's answer is not the golden model's."""
    return bool((answer.counts != expected.counts).any() or answer.prediction != expected.prediction)


@app.command()
def infer(
    context: typer.Context,
    model: ModelOption = None,
    images: ImagesOption = 100,
    seed: SeedOption = 1,
    port: PortOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load a model, classify test images, compare each answer with the golden model's. Exit status 1 if one differs."""
    output, place = Output(as_json=as_json), context.obj
    dataset = load_dataset(place.preset.dataset, data_dir=data_dir)
    require_fit(place.preset.spec, dataset)
    count = _checked_images(images, len(dataset.test))
    network = _network(place, model, seed)
    right = differing = 0
    output.begin("connect to the board")
    with _connected(place, port) as board, output.progress() as bar:
        board.load(network)
        for index, (image, label) in enumerate(zip(dataset.test.images[:count], dataset.test.labels, strict=False)):
            answer, expected = board.infer(image), network.forward(image)
            right += answer.prediction == label
            differing += _differ(answer, expected)
            bar(Progress(task="infer", done=index + 1, total=count, note=f"accuracy {percent(right / (index + 1))}"))
        repeated = board.repeated
    output.say(f"{count} images, accuracy {percent(right / count)}, {differing} answers differ from the golden model's")
    output.result({"images": count, "accuracy": right / count, "answers_equal": differing == 0,
                   "frames_repeated": repeated, "digest": network.digest()})
    if differing:
        error_line(f"{differing} of {count} answers differ from the golden model's")
        raise typer.Exit(1)


@app.command()
def train(
    context: typer.Context,
    model: ModelOption = None,
    images: ImagesOption = 100,
    seed: SeedOption = 1,
    port: PortOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn from training images on the board, one by one; compare the weights with the golden model's afterwards.

    Exit status 1 if any differs. Learning rate and image order are those of the preset's first epoch.
    """
    output, place = Output(as_json=as_json), context.obj
    preset: Preset = place.preset
    dataset = load_dataset(preset.dataset, data_dir=data_dir)
    require_fit(preset.spec, dataset)
    count = _checked_images(images, len(dataset.train))
    network, draws = _network(place, model, seed), DrawGenerator(preset.spec)
    plan = preset.training
    stream = EpochStream(dataset=dataset, training=dataset.train, seed=seed, epoch=0, shift=plan.shift)[:count]
    rate_shift = plan.rate_shift_at(0)
    right = differing = learnt = 0
    output.keeps(lambda: f"nothing was kept of {learnt} images that were learnt from; the same command starts anew")
    output.begin("connect to the board")
    with _connected(place, port) as board, output.progress() as bar:
        board.load(network)
        board.set_rate_shift(rate_shift)
        if draws.states:
            board.seed(draws.states)
        for index, (image, label) in enumerate(zip(stream.images, stream.labels, strict=True)):
            answer = board.train(image, int(label))
            expected = learn(network, image, int(label), rate_shift=rate_shift, **draws.draw()._asdict())
            right += answer.prediction == label
            differing += _differ(answer, expected.forward)
            learnt = index + 1
            bar(Progress(task="train", done=learnt, total=count,
                         note=f"right while learning {percent(right / (index + 1))}"))
        found: list[NDArray[Any]] = [*board.weights(), *board.thresholds()]
        equal = all((got == wanted).all() for got, wanted in zip(
            found, [*network.weights, *network.thresholds], strict=True))
        counters, repeated = board.counters(), board.repeated
    output.say(f"{count} images, {percent(right / count)} right while learning; weights "
               f"{'equal' if equal else 'differ from'} the golden model's (digest {network.digest()})")
    output.result({"images": count, "train_accuracy": right / count, "weights_equal": equal,
                   "answers_equal": differing == 0, "learned": counters["learned"], "frames_repeated": repeated,
                   "digest": network.digest()})
    if differing or not equal:
        error_line("the board's weights differ from the golden model's" if not equal else
                   f"{differing} of {count} answers differ from the golden model's")
        raise typer.Exit(1)


@app.command()
def weights(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="Model file to write.")],
    port: PortOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read the board's weights into a model file."""
    output, place = Output(as_json=as_json), context.obj
    require_file_place(out)
    output.begin("read the weights")
    with _connected(place, port) as board:
        network = Network(spec=place.preset.spec, weights=board.weights(), thresholds=board.thresholds() or None)
    save_model(out, Model(network=network, preset=place.preset.name, dataset=place.preset.dataset))
    output.say(f"wrote {out} (digest {network.digest()})")
    output.result({"out": str(out), "digest": network.digest()})
