"""The commands of the hardware: verilog, cosim, demo."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from lifstream.accuracy import train_network
from lifstream.console import Output, error_line
from lifstream.extras import Extra, require
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import NamedRule
from lifstream.golden.files import make_folder, write_text
from lifstream.golden.model.network import Network, accuracy
from lifstream.golden.study.datasets import Split, load_dataset
from lifstream.golden.study.figures import confusion_matrix, learning_figure, network_figure, save_figure
from lifstream.golden.study.model_files import Model, save_model
from lifstream.golden.study.own_data import data_name, load_data
from lifstream.golden.study.presets import Preset, preset_by_name
from lifstream.golden.study.training import Trainer
from lifstream.library import Interface, emit, load, playlist, untrained, write_verilog
from lifstream.library import play as played
from lifstream.options import (
    DataOption,
    GeometryOptions,
    JsonOption,
    NetworkOptions,
    RuleOption,
    SeedOption,
    described,
    option_groups,
    percent,
    require_file_place,
)
from lifstream.sim.cosim import (
    Continuation,
    CosimResult,
    Recording,
    Segment,
    Stalls,
    Surroundings,
    Window,
)
from lifstream.sim.faults import Fault
from lifstream.sim.runner import Simulator, wave_format

if TYPE_CHECKING:
    from lifstream.hdl.geometry import Geometry

__all__ = ["cosim", "cosimulate_model", "demo", "verilog"]


_WINDOW_MAX = 1_000_000


@option_groups
def verilog(
    out: Annotated[Path, typer.Option(
        "--out", help="Folder to write NAME.v, its description NAME.v.json, a bench NAME_tb.v and more into.")],
    network: NetworkOptions,
    *,
    model: Annotated[str | None, typer.Option(
        "--model", help="Instead of a preset: generate for this model's contract (file or released model).")] = None,
    name: Annotated[str, typer.Option(
        "--name", help="Name of the module and of the files; all inner modules begin with it.")] = "top",
    folding: GeometryOptions,
    rule: RuleOption = None,
    interface: Annotated[Interface, typer.Option(
        "--interface", help="Ports: two byte streams, or AXI4-Stream and AXI4-Lite with names that Vivado and LiteX "
                            "infer, a packaging script, register map and C driver.")] = Interface.BYTES,
    axi_width: Annotated[int, typer.Option("--axi-width", help="With AXI: bytes of a stream word: 1, 2, 4 or 8.")] = 4,
    as_json: JsonOption = False,
) -> None:
    """Generate a network's Verilog, its description (JSON), an instantiation template and a bench.

    The weights are no part of the Verilog: the host loads them. The bench loads those of --model, of the released
    model of the preset's name, or else random ones.
    """
    from lifstream.hdl.geometry import counted

    output = Output(as_json=as_json)
    preset = network.instead_of(model, command="verilog", called="--model")
    if model is not None:
        if rule is not None:
            raise InputError("--rule: a model has its own rule; use --preset")
        chosen: Model | Preset = load(model)
    else:
        assert preset is not None
        chosen = preset.varied(rule=rule)
    spec, called, dataset = (chosen.network.spec, chosen.preset, chosen.dataset) if isinstance(chosen, Model) else \
        (chosen.spec, chosen.name, data_name(chosen.dataset))
    geometry = folding.geometry(spec)
    written = write_verilog(chosen, out, geometry=geometry, name=name, interface=interface, axi_width=axi_width)
    layers = written.description["layers"]
    output.say(described(called, dataset, spec))
    for layer in layers:
        output.say(f"layer {layer['n_in']} -> {layer['n_out']}: {counted(layer['lanes'], 'lane')} in "
                   f"{counted(layer['groups'], 'group')}, "
                   f"{counted(layer['folds'] // layer.get('positions', 1), 'clock')} per spike"
                   + (f" and position it reaches, out of {layer['positions']}" if "positions" in layer else ""))
    output.say(f"wrote {', '.join(map(str, written.files))}")
    if written.registers is False:
        output.say("wrote no page and no test bench model of the registers: PeakRDL is not installed; "
                   "pip install 'lifstream[registers]'")
    if not written.bench:
        output.say("wrote no bench: so many weights are no text for a Verilog simulator; "
                   "'lifstream cosim' plays images through this network")
    output.result({"files": [str(path) for path in written.files], "spec_digest": spec.digest(),
                   "geometry": geometry.to_json(), "layers": layers})


@dataclass(frozen=True, kw_only=True)
class CosimImages:
    """What a co-simulation plays."""

    train: Annotated[bool, typer.Option("--train", help="Learn on chip from training images, then classify.")] = False
    images: Annotated[int | None, typer.Option(
        "--images", help="Images to play; default: 100 to classify, all (per epoch) to learn from.")] = None
    epochs: Annotated[int, typer.Option("--epochs", help="With --train: passes over the images.")] = 1
    check_every: Annotated[int, typer.Option(
        "--check-every", help="With --train: compare all weights after this many images and each epoch.")] = 1_000
    test_images: Annotated[int, typer.Option(
        "--test-images", help="With --train: test images to classify afterwards, at most.")] = 1_000
    label_images: Annotated[int, typer.Option(
        "--label-images", help="With --train, unsupervised: training images by which neurons are labelled afterwards, "
                               "at most 10,000.")] = 1_000
    data_dir: DataOption = None

    def played(self, loaded: Model, source: str, seed: int) -> tuple[dict[str, Split], list[Segment]]:
        """Images of the data set ``source`` by name, and what is played of them, in order.

        Raises
        ------
        InputError
            There is no such data set, its images are of another size, or a number is out of bounds.
        """
        dataset = load_data(source, data_dir=self.data_dir, like=loaded.network.spec)
        dataset.require_fit(loaded.network.spec)
        try:
            return playlist(loaded, dataset, train=self.train, images=self.images, epochs=self.epochs, seed=seed,
                            check_every=self.check_every, test_images=self.test_images,
                            label_images=self.label_images)
        except InputError as error:
            raise InputError(f"--{error}") from None


@dataclass(frozen=True, kw_only=True)
class CosimBench:
    """What the design is simulated in, and what is kept of the run."""

    stalls: Annotated[Stalls, typer.Option("--stalls", help="Behaviour of the surroundings.")] = Stalls.NONE
    seed: SeedOption = 1
    plant_fault: Annotated[Fault | None, typer.Option(
        "--plant-fault", help="Turn one bit over, to see the comparison fail.")] = None
    simulator: Annotated[Simulator, typer.Option("--simulator", help="Simulator.")] = Simulator.VERILATOR
    waves: Annotated[Path | None, typer.Option(
        "--waves", help="Write a waveform here: .vcd, or .fst, which is many times smaller.")] = None
    window: Annotated[int, typer.Option(
        "--divergence-clocks", help="Without --waves, after a divergence: clocks of waveform around it that are "
                                    "recorded in a replay; 0 for none.")] = 500
    window_file: Annotated[Path, typer.Option(
        "--divergence-waves", help="Where that waveform goes: .vcd or .fst.")] = Path("divergence.vcd")
    figure: Annotated[Path | None, typer.Option(
        "--figure", help="With --train: draw accuracy, update rate and cycles per image here (PNG).")] = None
    checkpoint: Annotated[Path | None, typer.Option(
        "--checkpoint", help="With --train: write a checkpoint here whenever the weights are compared.")] = None
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the --checkpoint if it is there.")] = False

    def check(self) -> None:
        """See to it that the results can be written; raises InputError when not."""
        if not 0 <= self.window <= _WINDOW_MAX:
            raise InputError(f"--divergence-clocks: {self.window} is out of bounds, must be 0..{_WINDOW_MAX}")
        wave_format(self.window_file)
        if self.waves is not None:
            wave_format(self.waves)
        if self.resume and self.checkpoint is None:
            raise InputError("--resume: name the --checkpoint to continue from")
        for place in (self.waves, self.figure, self.checkpoint, self.window_file if self.window else None):
            if place is not None:
                require_file_place(place)
        if self.figure is not None:
            require(Extra.FIGURES)

    def options(self) -> dict[str, Any]:
        """For :func:`lifstream.sim.cosim.cosimulate`."""
        window = Window(file=self.window_file, clocks=self.window) if self.window and self.waves is None else None
        return {"simulator": self.simulator, "recording": Recording(waves=self.waves, window=window),
                "surroundings": Surroundings(stalls=self.stalls, seed=self.seed, fault=self.plant_fault),
                "continuation": Continuation(checkpoint=self.checkpoint, resume=self.resume)}


@option_groups
def cosim(
    model: Annotated[str | None, typer.Argument(
        metavar="[MODEL]", help="Model file written by 'lifstream train', or a released model.")] = None,
    *,
    network: NetworkOptions,
    rule: RuleOption = None,
    folding: GeometryOptions,
    play: CosimImages,
    bench: CosimBench,
    as_json: JsonOption = False,
) -> None:
    """Play images through the Verilog and compare every spike, membrane potential, desire and weight.

    Takes a MODEL, or instead of one a --preset or --layers: a network with random weights from --seed. Exit status 1
    when the design and the golden model differ; the first divergence is named, with its clock and its path in the
    waveform, and the clocks around it are recorded.
    """
    output = Output(as_json=as_json)
    bench.check()
    require(Extra.SIM, Extra.VERILOG)
    preset = network.instead_of(model, command="cosim")
    loaded = _cosim_model(model, preset, rule, bench.seed)
    source = network.dataset or (loaded.dataset if preset is None else preset.dataset)
    spec = loaded.network.spec
    geometry = folding.geometry(spec)
    splits, segments = play.played(loaded, source, bench.seed)
    try:
        result = cosimulate_model(loaded, splits, segments, output, geometry=geometry, **bench.options())
    except KeyboardInterrupt as interrupt:
        if kept := str(interrupt):
            output.keeps(lambda: kept)
        raise
    learning = [entry for entry in result.history if entry["learning"]]
    report: dict[str, Any] = {
        "bit_exact": result.bit_exact,
        "images": sum(segment["images"] for segment in result.segments if segment["learning"] == play.train),
        "accuracy": result.segments[-1]["accuracy"] if result.segments else None,
        "cycles_per_image": result.cycles_per_image, "images_per_second": round(result.images_per_second, 1),
        "loading_cycles": result.loading_cycles, "lanes": geometry.to_json()["lanes"], "stalls": bench.stalls,
        "seed": bench.seed, "simulator": bench.simulator, "digest": result.digest, "spec_digest": spec.digest(),
        "divergence": result.divergence, "mismatches": result.mismatches, "message": result.message,
        "window": None if result.window is None else asdict(result.window)}
    if play.train and learning:
        report |= _learning_report(result, learning)
        if bench.figure is not None:
            save_figure(learning_figure(learning, title=f"{loaded.preset}, learning in the simulated hardware"),
                        bench.figure)
    output.result(report)
    if not result.bit_exact:
        error_line(f"not bit-exact: {result.message}")
        raise typer.Exit(1)
    output.say(described(loaded.preset, loaded.dataset, spec))
    if play.train:
        cycles = report["cycles"]
        output.say(f"learnt from {report['images']} images, {percent(report['update_rate'])} of them with an update; "
                   f"{report['cycles_per_image']:.0f} clock cycles per image: "
                   + ", ".join(f"{name} {count:.0f}" for name, count in cycles.items()))
    output.say(f"bit-exact: {result.images} images, accuracy {percent(report['accuracy'])}, "
               f"{result.cycles_per_image:.0f} clock cycles and {1 / result.images_per_second * 1e3:.1f} ms per image; "
               f"weights {result.digest}")


def _cosim_model(model: str | None, preset: Preset | None, rule: NamedRule | None, seed: int) -> Model:
    """The model to co-simulate; of a preset, with its plan of training."""
    if model is not None:
        if rule is not None:
            raise InputError("--rule: a MODEL has its own rule; use --preset")
        return load(model)
    assert preset is not None
    return untrained(preset.varied(rule=rule), seed=seed)


def _learning_report(result: CosimResult, learning: list[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy, update rate and cycles of the images that were learnt from."""
    last = learning[-1]
    tested = next((segment for segment in result.segments if segment["split"] == "test"), None)
    cycles = {phase: last[f"{phase}_cycles"] / last["images"] for phase in ("load", "forward", "desire", "update")}
    return {
        "train_accuracy": sum(entry["correct"] for entry in learning) / last["images"],
        "test_accuracy": tested["accuracy"] if tested else None,
        "test_images": tested["images"] if tested else 0,
        "update_rate": last["learned"] / last["images"],
        "cycles_per_image": sum(cycles.values()),
        "cycles": cycles,
    }


def cosimulate_model(model: Model, splits: dict[str, Split], segments: list[Segment], output: Output, *,
                     geometry: Geometry, **options: Any) -> CosimResult:
    """Emit the model's design, or take it from the cache, and co-simulate it under a progress bar."""
    output.begin("generate Verilog")
    with output.progress() as bar:
        return played(model, splits, segments, geometry=geometry, report=bar, **options)


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder of the report.")] = Path("build/demo"),
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over the training images.")] = 6,
    seed: SeedOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Train a small network, generate its Verilog, co-simulate the whole test split, write a report with a picture.

    Needs no data set: the UCI digits come with it.
    """
    require(Extra.SIM, Extra.VERILOG, Extra.FIGURES)
    output = Output(as_json=as_json)
    make_folder(out)
    preset = preset_by_name("digits").planned(epochs=epochs)
    dataset = load_dataset(preset.dataset)
    trainer, _ = train_network(preset, dataset, seed, output)
    network = trainer.network
    assert isinstance(network, Network)
    model = Model(network=network, preset=preset.name, dataset=dataset.name, training={"seed": seed})
    save_model(out / "digits.npz", model)
    geometry = GeometryOptions().geometry(preset.spec)
    output.begin("generate Verilog")
    emit(preset, geometry=geometry).write(out)
    output.keeps(lambda: f"{out} keeps the trained model and its Verilog; the same command starts anew")
    output.say(f"generated {out / 'top.v'}; co-simulating {len(dataset.test)} test images")
    segment = Segment(split="test", order=np.arange(len(dataset.test)))
    result = cosimulate_model(model, {"test": dataset.test}, [segment], output, geometry=geometry)
    if not result.bit_exact:
        error_line(f"not bit-exact: {result.message}")
        raise typer.Exit(1)
    right = accuracy(result.predictions, dataset.test.labels)
    confusion = confusion_matrix(dataset.test.labels, result.predictions, preset.spec.classes)
    sample = dataset.test.images[0]
    record = model.network.classify(sample)
    save_figure(network_figure(model.network, sample, int(dataset.test.labels[0]), record, confusion,
                               height=dataset.height, width=dataset.width), out / "report.png")
    write_text(out / "report.md", _demo_report(model, trainer, result, right))
    output.say(f"wrote {out / 'report.md'} and {out / 'report.png'}")
    output.say(f"bit-exact: {result.images} images, every spike and membrane potential; "
               f"accuracy {percent(right)}")
    output.result({"bit_exact": True, "images": result.images, "accuracy": right,
                   "cycles_per_image": result.cycles_per_image, "digest": model.network.digest(),
                   "report": str(out / "report.md")})


def _demo_report(model: Model, trainer: Trainer, result: CosimResult, right: float) -> str:
    spec = model.network.spec
    ties = int(np.count_nonzero(result.predictions < 0))
    rows = "\n".join(f"| {entry.epoch} | {entry.rate_shift} | {percent(entry.training_accuracy)} | "
                     f"{percent(entry.validation_accuracy or 0)} | {percent(entry.update_rate)} |"
                     for entry in trainer.metrics)
    return f"""# Demonstration report

A {spec.summary} network, trained on the UCI digits by desire backpropagation in integers
({spec.weight_widths}-bit weights, {spec.steps} time steps), then run as generated Verilog under Verilator.

**Bit-exact**: {result.images} test images, every spike and every membrane potential equal to the golden model's.
Accuracy {percent(right)} ({ties} ties counted as wrong), {result.cycles_per_image:.0f} clock cycles per image.
Model digest `{model.network.digest()}`, contract digest `{spec.digest()}`.

| epoch | rate shift | training | validation | samples that learnt |
|---|---|---|---|---|
{rows}

![One test image through the network, the first layer's weights, the confusion matrix](report.png)
"""
