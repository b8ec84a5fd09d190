"""The commands of a board: infer, train, weights; on a serial port, or simulated."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lifstream.console import Output, error_line
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.protocol import BAUD
from lifstream.golden.model.draws import DrawGenerator
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.study.datasets import DATASETS, Dataset
from lifstream.golden.study.epochs import EpochStream
from lifstream.golden.study.model_files import Model, save_model
from lifstream.golden.study.own_data import data_name, load_data
from lifstream.golden.study.training import Progress
from lifstream.golden.study.words import GRAMMAR
from lifstream.library import connect, simulated_board
from lifstream.options import (
    DataOption,
    DatasetOption,
    GeometryOptions,
    JsonOption,
    LanesOption,
    NamedNetwork,
    SeedOption,
    WeightBitsOption,
    named_model,
    named_network,
    named_preset,
    option_groups,
    percent,
    require_file_place,
    said_network,
)

if TYPE_CHECKING:
    from lifstream.boards.host import Board
    from lifstream.boards.targets import Target
    from lifstream.hdl.geometry import Geometry

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None,
                  help="Use a board on a serial port, or a simulated one.")

@dataclass(frozen=True, kw_only=True)
class BoardOptions:
    """Which board, and which network it has."""

    port: Annotated[str | None, typer.Option("--port", help="Serial port of the board.")] = None
    baud: Annotated[int | None, typer.Option("--baud", help=f"Bits per second. Default: {BAUD}.")] = None
    preset: Annotated[str | None, typer.Option(
        "--preset", metavar="PRESET|MODEL",
        help="With a port: the network the board was built for, a preset or a model.")] = None
    simulated: Annotated[str | None, typer.Option(
        "--simulated", metavar="PRESET|MODEL",
        help="No board: simulate one with this network, UART pins and all, behind a pseudo-terminal.")] = None
    layers: Annotated[str | None, typer.Option(
        "--layers", metavar="WORDS",
        help=f"The network in words, for --preset with a port and for --simulated without one: {GRAMMAR}. Needs "
             "--dataset.")] = None
    dataset: DatasetOption = None
    weight_bits: WeightBitsOption = None
    lanes: LanesOption = None
    netlist: Annotated[str | None, typer.Option(
        "--netlist", metavar="BOARD", help="With --simulated: simulate the gates that synthesis makes of it for this "
                                           "board (icebreaker, ulx3s-85f), with its lanes.")] = None

    def after(self, before: BoardOptions) -> BoardOptions:
        """These options, which stand behind the command; where they say nothing, those before it."""
        return replace(before, **{name: value for name, value in vars(self).items() if value is not None})

    def network(self) -> NamedNetwork:
        """The board's network.

        Raises
        ------
        InputError
            There is none, or the options contradict each other.
        """
        said = said_network(self.layers, self.dataset)
        if [self.preset, self.simulated, said].count(None) != 2:
            raise InputError("board: name the board's network with --preset, or simulate one with --simulated PRESET; "
                             "or give --layers, with --port or without")
        if self.simulated is not None and self.port is not None:
            raise InputError("board: --port and --simulated exclude each other")
        if self.preset is not None and self.port is None:
            raise InputError("board: name its serial port with --port")
        if self.netlist is not None and self.port is not None:
            raise InputError("board: --netlist needs --simulated")
        found = named_network(self.simulated or self.preset or "", weight_bits=self.weight_bits) if said is None else \
            named_preset(said, weight_bits=self.weight_bits)
        return found.for_dataset(self.dataset)


@dataclass(frozen=True, kw_only=True)
class PlayOptions:
    """What is loaded into the board, and how much is played."""

    model: Annotated[str | None, typer.Option(
        "--model", help="Model file or released model to load. Default: the model that names the network, or for a "
                        "preset random weights from --seed.")] = None
    images: Annotated[int, typer.Option("--images", help="Images to play.")] = 100
    seed: SeedOption = 1
    data_dir: DataOption = None

    def loaded(self, network: NamedNetwork) -> NamedNetwork:
        """The model, or what the board's network was named by."""
        if self.model is None:
            return network
        loaded = named_model(self.model, preset=network.preset)
        return loaded if loaded.preset.dataset in DATASETS else loaded.for_dataset(network.preset.dataset)

    def dataset(self, loaded: NamedNetwork) -> Dataset:
        """The images that the network is for."""
        dataset = load_data(loaded.preset.dataset, data_dir=self.data_dir, like=loaded.preset.spec)
        dataset.require_fit(loaded.preset.spec)
        return dataset

    def count(self, available: int) -> int:
        """How many images of those there are; raises InputError when there are not as many."""
        if not 1 <= self.images <= available:
            raise InputError(f"--images: {self.images} is out of bounds, must be 1..{available}")
        return self.images


@app.callback()
@option_groups
def choose(context: typer.Context, board: BoardOptions) -> None:
    """Use a board on a serial port (--port, --preset), or a simulated one (--simulated).

    The options may stand before or behind the command.
    """
    context.obj = board


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where the board is; without a port it is simulated."""

    network: NamedNetwork
    port: str | None
    baud: int
    geometry: Geometry | None = None
    netlist_of: Target | None = None


def _place(board: BoardOptions) -> _Place:
    """The board that the options name."""
    network = board.network()
    port, baud = board.port, BAUD if board.baud is None else board.baud
    if port is not None:
        return _Place(network=network, port=port, baud=baud)
    from lifstream.boards.targets import target_by_name

    target = None if board.netlist is None else target_by_name(board.netlist)
    geometry = GeometryOptions(lanes=board.lanes).geometry(network.preset.spec, target=target)
    return _Place(network=network, port=None, baud=baud, geometry=geometry, netlist_of=target)


def _connected(place: _Place) -> AbstractContextManager[Board]:
    """The board, connected."""
    spec = place.network.preset.spec
    if place.port is not None:
        return connect(spec, place.port, baud=place.baud)
    return simulated_board(spec, geometry=place.geometry, netlist_of=place.netlist_of)


def _differ(answer: Any, expected: Any) -> bool:
    """Whether a board's answer is not the golden model's."""
    return bool((answer.responses != expected.responses).any() or answer.prediction != expected.prediction)


@app.command()
@option_groups
def infer(
    context: typer.Context,
    play: PlayOptions,
    board: BoardOptions,
    as_json: JsonOption = False,
) -> None:
    """Load a model, classify test images, compare each answer with the golden model's. Exit status 1 if one differs."""
    output = Output(as_json=as_json)
    place = _place(board.after(context.obj))
    loaded = play.loaded(place.network)
    dataset = play.dataset(loaded)
    count = play.count(len(dataset.test))
    network = loaded.network(play.seed)
    right = differing = 0
    output.begin("connect to the board")
    with _connected(place) as connected, output.progress() as bar:
        connected.load(network)
        for index, (image, label) in enumerate(zip(dataset.test.images[:count], dataset.test.labels, strict=False)):
            answer, expected = connected.infer(image), network.classify(image)
            right += answer.prediction == label
            differing += _differ(answer, expected)
            bar(Progress(task="infer", done=index + 1, total=count, note=f"accuracy {percent(right / (index + 1))}"))
        repeated = connected.repeated
    output.say(f"{count} images, accuracy {percent(right / count)}, {differing} answers differ from the golden model's")
    output.result({"images": count, "accuracy": right / count, "answers_equal": differing == 0,
                   "frames_repeated": repeated, "digest": network.digest()})
    if differing:
        error_line(f"{differing} of {count} answers differ from the golden model's")
        raise typer.Exit(1)


@app.command()
@option_groups
def train(
    context: typer.Context,
    play: PlayOptions,
    board: BoardOptions,
    as_json: JsonOption = False,
) -> None:
    """Learn from training images on the board, one by one; compare the weights with the golden model's afterwards.

    Exit status 1 if any differs. Learning rate and image order are those of a preset's first epoch, of a
    model's next.
    """
    output = Output(as_json=as_json)
    place = _place(board.after(context.obj))
    loaded = play.loaded(place.network)
    dataset = play.dataset(loaded)
    count = play.count(len(dataset.train))
    network, draws = loaded.network(play.seed), DrawGenerator(loaded.preset.spec)
    plan, epoch = loaded.preset.training, loaded.epochs
    stream = EpochStream(dataset=dataset, training=dataset.train, seed=play.seed, epoch=epoch, shift=plan.shift,
                         mirror=plan.mirror)[:count]
    rate_shift = plan.rate_shift_at(epoch)
    right = differing = learnt = 0
    output.keeps(lambda: f"nothing was kept of {learnt} images that were learnt from; the same command starts anew")
    output.begin("connect to the board")
    with _connected(place) as connected, output.progress() as bar:
        connected.load(network)
        connected.set_rate_shift(rate_shift)
        if draws.states:
            connected.seed(draws.states)
        for index, (image, label) in enumerate(zip(stream.images, stream.labels, strict=True)):
            answer = connected.train(image, int(label))
            expected = learn(network, image, int(label), rate_shift=rate_shift, **draws.draw()._asdict())
            right += answer.prediction == label
            differing += _differ(answer, expected.forward)
            learnt = index + 1
            bar(Progress(task="train", done=learnt, total=count,
                         note=f"right while learning {percent(right / (index + 1))}"))
        equal = all((got == wanted).all() for name, found in connected.learnt_state().items()
                    for got, wanted in zip(found, network.state[name], strict=True))
        counters, repeated = connected.counters(), connected.repeated
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
@option_groups
def weights(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="Model file to write.")],
    board: BoardOptions,
    as_json: JsonOption = False,
) -> None:
    """Read the board's weights into a model file."""
    output = Output(as_json=as_json)
    place = _place(board.after(context.obj))
    of = place.network.preset
    require_file_place(out)
    output.begin("read the weights")
    with _connected(place) as connected:
        network = Network(spec=of.spec, **connected.learnt_state())
    save_model(out, Model(network=network, preset=of.name, dataset=data_name(of.dataset)))
    output.say(f"wrote {out} (digest {network.digest()})")
    output.result({"out": str(out), "digest": network.digest()})
