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
from lifstream.golden.protocol import BAUD
from lifstream.golden.spec import InputError
from lifstream.golden.training import Progress
from lifstream.options import (
    DataOption,
    JsonOption,
    LanesOption,
    NamedNetwork,
    SeedOption,
    WeightBitsOption,
    named_model,
    named_network,
    percent,
    require_file_place,
    require_fit,
)

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Use a board on a serial port, or a simulated one.")

PortOption = Annotated[str | None, typer.Option("--port", help="Serial port of the board.")]
BaudOption = Annotated[int | None, typer.Option("--baud", help=f"Bits per second. Default: {BAUD}.")]
NetworkOption = Annotated[str | None, typer.Option(
    "--preset", metavar="PRESET|MODEL", help="With a port: the network the board was built for, a preset or a model.")]
SimulatedOption = Annotated[str | None, typer.Option(
    "--simulated", metavar="PRESET|MODEL", help="No board: simulate one with this network, UART pins and all, behind a "
                                                "pseudo-terminal.")]
NetlistOption = Annotated[str | None, typer.Option(
    "--netlist", metavar="BOARD", help="With --simulated: simulate the gates that synthesis makes of it for this board "
                                       "(icebreaker, ulx3s-85f), with its lanes.")]
ModelOption = Annotated[str | None, typer.Option(
    "--model", help="Model file or released model to load. Default: the model that names the network, or for a preset "
                    "random weights from --seed.")]
ImagesOption = Annotated[int, typer.Option("--images", help="Images to play.")]

_SIMULATED_PATIENCE = 30.0
"""Seconds to wait for an acknowledgement from a simulation, which is some thousand times slower than a board."""

_SIMULATED_SILENCE = 600.0
"""Seconds to wait for the next part of a simulation's reply; gates are slower still."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where the board is and what network it has."""

    port: str | None
    baud: int | None
    network: NamedNetwork
    simulated: bool
    lanes: int | None
    netlist: str | None


@app.callback()
def choose(
    context: typer.Context,
    port: PortOption = None,
    baud: BaudOption = None,
    preset: NetworkOption = None,
    simulated: SimulatedOption = None,
    weight_bits: WeightBitsOption = None,
    lanes: LanesOption = None,
    netlist: NetlistOption = None,
) -> None:
    """Use a board on a serial port (--port, --preset), or a simulated one (--simulated).

    The options may stand before or behind the command.
    """
    context.obj = {"port": port, "baud": baud, "preset": preset, "simulated": simulated, "weight_bits": weight_bits,
                   "lanes": lanes, "netlist": netlist}


def _place(context: typer.Context, **behind: Any) -> _Place:
    """The board that the options before and behind the command name."""
    given = {name: context.obj[name] if value is None else value for name, value in behind.items()}
    preset, simulated, port = given.pop("preset"), given.pop("simulated"), given["port"]
    if (preset is None) == (simulated is None):
        raise InputError("board: name the board's network with --preset, or simulate one with --simulated PRESET")
    if simulated is not None and port is not None:
        raise InputError("board: --port and --simulated exclude each other")
    if preset is not None and port is None:
        raise InputError("board: name its serial port with --port")
    if given["netlist"] is not None and simulated is None:
        raise InputError("board: --netlist needs --simulated")
    network = named_network(simulated or preset, weight_bits=given.pop("weight_bits"))
    return _Place(simulated=simulated is not None, network=network, **given)


@contextmanager
def _connected(place: _Place) -> Iterator[Any]:
    """The board, connected."""
    from lifstream.boards.host import Board, open_port

    spec = place.network.preset.spec
    if place.port is not None:
        with Board(port=open_port(place.port, baud=BAUD if place.baud is None else place.baud), spec=spec) as board:
            yield board
        return
    from lifstream.boards.simulated import simulated_board
    from lifstream.boards.targets import target_by_name
    from lifstream.hdl.geometry import Geometry

    geometry = Geometry(lanes=max(spec.sizes[1:]) if place.lanes is None else place.lanes)
    target = None
    if place.netlist is not None:
        target = target_by_name(place.netlist)
        geometry = target.geometry(spec, lanes=place.lanes)
    with simulated_board(spec=spec, geometry=geometry, netlist_of=target) as terminal, \
            Board(port=open_port(terminal, write_timeout=_SIMULATED_SILENCE), spec=spec, patience=_SIMULATED_PATIENCE,
                  silence=_SIMULATED_SILENCE) as board:
        yield board


def _loaded(place: _Place, model: str | None) -> NamedNetwork:
    """What is loaded into the board: the model, or what its network was named by."""
    return place.network if model is None else named_model(model, preset=place.network.preset)


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
    baud: BaudOption = None,
    preset: NetworkOption = None,
    simulated: SimulatedOption = None,
    weight_bits: WeightBitsOption = None,
    lanes: LanesOption = None,
    netlist: NetlistOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load a model, classify test images, compare each answer with the golden model's. Exit status 1 if one differs."""
    output = Output(as_json=as_json)
    place = _place(context, port=port, baud=baud, preset=preset, simulated=simulated, weight_bits=weight_bits,
                   lanes=lanes, netlist=netlist)
    loaded = _loaded(place, model)
    dataset = load_dataset(loaded.preset.dataset, data_dir=data_dir)
    require_fit(loaded.preset.spec, dataset)
    count = _checked_images(images, len(dataset.test))
    network = loaded.network(seed)
    right = differing = 0
    output.begin("connect to the board")
    with _connected(place) as board, output.progress() as bar:
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
    baud: BaudOption = None,
    preset: NetworkOption = None,
    simulated: SimulatedOption = None,
    weight_bits: WeightBitsOption = None,
    lanes: LanesOption = None,
    netlist: NetlistOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn from training images on the board, one by one; compare the weights with the golden model's afterwards.

    Exit status 1 if any differs. Learning rate and image order are those of a preset's first epoch, of a
    model's next.
    """
    output = Output(as_json=as_json)
    place = _place(context, port=port, baud=baud, preset=preset, simulated=simulated, weight_bits=weight_bits,
                   lanes=lanes, netlist=netlist)
    loaded = _loaded(place, model)
    dataset = load_dataset(loaded.preset.dataset, data_dir=data_dir)
    require_fit(loaded.preset.spec, dataset)
    count = _checked_images(images, len(dataset.train))
    network, draws = loaded.network(seed), DrawGenerator(loaded.preset.spec)
    plan, epoch = loaded.preset.training, loaded.epochs
    stream = EpochStream(dataset=dataset, training=dataset.train, seed=seed, epoch=epoch, shift=plan.shift)[:count]
    rate_shift = plan.rate_shift_at(epoch)
    right = differing = learnt = 0
    output.keeps(lambda: f"nothing was kept of {learnt} images that were learnt from; the same command starts anew")
    output.begin("connect to the board")
    with _connected(place) as board, output.progress() as bar:
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
    baud: BaudOption = None,
    preset: NetworkOption = None,
    simulated: SimulatedOption = None,
    weight_bits: WeightBitsOption = None,
    lanes: LanesOption = None,
    netlist: NetlistOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read the board's weights into a model file."""
    output = Output(as_json=as_json)
    place = _place(context, port=port, baud=baud, preset=preset, simulated=simulated, weight_bits=weight_bits,
                   lanes=lanes, netlist=netlist)
    of = place.network.preset
    require_file_place(out)
    output.begin("read the weights")
    with _connected(place) as board:
        network = Network(spec=of.spec, weights=board.weights(), thresholds=board.thresholds() or None)
    save_model(out, Model(network=network, preset=of.name, dataset=of.dataset))
    output.say(f"wrote {out} (digest {network.digest()})")
    output.result({"out": str(out), "digest": network.digest()})
