"""Comparison tables: our networks beside each other and beside published systems."""

from __future__ import annotations

import itertools
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import NamedRule
from lifstream.golden.contract.formats import Rounding
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.study.cost import ecp5_block_rams, synaptic_operations, weight_memory_bits
from lifstream.golden.study.experiments import Experiment, Failure, Measurement
from lifstream.golden.study.presets import Preset
from lifstream.golden.twin.engine import Arithmetic

__all__ = ["COLUMNS", "PUBLISHED", "GridCell", "Published", "Row", "Variant", "grid", "markdown", "measured_row",
           "published_rows", "text", "variants"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table; None where a figure is not known. Accuracies are fractions, 0..1."""

    name: str
    source: str
    """Where the figures come from: a citation, or how we measured."""
    network: str
    """Layer sizes."""
    accuracies: tuple[float, ...]
    """One per seed."""
    parameters: int | None
    memory_bits: int | None
    block_rams: int | None = None
    spikes: float | None = None
    """Per image, input and all layers, in inference."""
    operations: float | None = None
    """Synaptic operations per image, in inference."""
    updates: float | None = None
    """Weights visited by updates per training image, last epoch."""
    failures: tuple[str, ...] = ()

    @property
    def mean(self) -> float | None:
        """Mean accuracy over the seeds."""
        return statistics.fmean(self.accuracies) if self.accuracies else None

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over the seeds, from two of them."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def to_json(self) -> dict[str, Any]:
        """All fields with mean and spread, as plain JSON values."""
        return {**asdict(self), "mean": self.mean, "spread": self.spread}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A network to train over several seeds."""

    name: str
    preset: Preset
    arithmetic: Arithmetic = Arithmetic.INTEGER

    def experiments(self, seeds: Sequence[int], *, test: bool) -> list[Experiment]:
        """Its training runs."""
        return [Experiment(preset=self.preset, seed=seed, arithmetic=self.arithmetic, test=test) for seed in seeds]


def variants(preset: Preset, *, epochs: int | None = None) -> list[Variant]:
    """The comparison's own rows: both rules, in real numbers and in integers of several widths."""
    if epochs is not None:
        preset = replace(preset, training=replace(preset.training, epochs=epochs))
    rows = [Variant(name=f"{rule} rule, float", preset=preset.varied(rule=rule), arithmetic=Arithmetic.FLOAT)
            for rule in (NamedRule.PAPER, NamedRule.GRADED)]
    rows.append(Variant(name="paper rule, 16 bit", preset=preset.varied(rule=NamedRule.PAPER, weight_bits=16)))
    rows += [Variant(name=f"graded rule, {bits} bit", preset=preset.varied(rule=NamedRule.GRADED, weight_bits=bits))
             for bits in (16, 12, 8)]
    rows += [Variant(name=f"graded rule, {bits} bit, stochastic rounding", preset=preset.varied(
        rule=NamedRule.GRADED, weight_bits=bits, rounding=Rounding.STOCHASTIC)) for bits in (12, 8, 6)]
    return rows


def measured_row(*, name: str, source: str, spec: NetworkSpec, arithmetic: Arithmetic,
                 results: Sequence[Measurement | Failure], test: bool = True) -> Row:
    """A row of our own from the runs of several seeds; ``test`` chooses the accuracy shown."""
    good = [result for result in results if isinstance(result, Measurement)]
    accuracies = [result.test_accuracy if test else result.validation_accuracy for result in good]
    integer = arithmetic is Arithmetic.INTEGER
    spikes = [statistics.fmean(values) for values in zip(*(result.spikes_per_image for result in good), strict=True)]
    return Row(
        name=name, source=source, network=spec.summary,
        accuracies=tuple(value for value in accuracies if value is not None), parameters=spec.parameters,
        memory_bits=weight_memory_bits(spec) if integer else 32 * spec.parameters,
        block_rams=ecp5_block_rams(spec) if integer else None, spikes=sum(spikes) if good else None,
        operations=synaptic_operations(spec, spikes[:-1]) if good else None,
        updates=statistics.fmean(result.updates_per_image for result in good) if good else None,
        failures=tuple(result.message for result in results if isinstance(result, Failure)))


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published system; its figures are its authors' own."""

    name: str
    source: str
    network: dict[str, str]
    """Layer sizes by data set."""
    accuracy: dict[str, float]
    """Test accuracy by data set, a fraction."""
    parameters: dict[str, int]
    """Number of weights by data set, where it follows from the layer sizes."""
    weight_bits: int | None
    """Bits of a weight, where the publication gives them."""


PUBLISHED = (
    Published(name="desire backpropagation, float", source="Gerlinghoff et al., arXiv 2211.05412",
              network={"mnist": "784-1600-800-10", "fashion-mnist": "784-1000-100-10"},
              accuracy={"mnist": 0.9841, "fashion-mnist": 0.8756},
              parameters={"mnist": 784 * 1600 + 1600 * 800 + 8000, "fashion-mnist": 784_000 + 100_000 + 1000},
              weight_bits=32),
    Published(name="EqSpike, software", source="Martin et al., arXiv 2010.07859", network={},
              accuracy={"mnist": 0.976}, parameters={}, weight_bits=None),
    Published(name="STB-STDP, unsupervised", source="arXiv 2207.02727", network={},
              accuracy={"mnist": 0.979, "fashion-mnist": 0.870}, parameters={}, weight_bits=None),
    Published(name="unsupervised STDP", source="Diehl & Cook, Front. Comput. Neurosci. 9:99, 2015",
              network={"mnist": "784-6400"}, accuracy={"mnist": 0.95}, parameters={"mnist": 784 * 6400},
              weight_bits=None),
    Published(name="on-chip learning, ASIC", source="Park et al., 2019", network={"mnist": "784-200-200-10"},
              accuracy={"mnist": 0.981}, parameters={"mnist": 784 * 200 + 200 * 200 + 2000}, weight_bits=None),
    Published(name="integer e-prop, FPGA", source="on-chip learning on a Zynq, 2025", network={},
              accuracy={"mnist": 0.9755}, parameters={}, weight_bits=None),
    Published(name="Spiker-LL, FPGA", source="on-chip learning on a PYNQ-Z2, Q8.8, T = 10, 2026; about",
              network={"mnist": "784-200-10", "fashion-mnist": "784-200-10"},
              accuracy={"mnist": 0.92, "fashion-mnist": 0.88},
              parameters={"mnist": 784 * 200 + 2000, "fashion-mnist": 784 * 200 + 2000}, weight_bits=16),
    Published(name="SRC, FPGA, inference only", source="2026", network={"mnist": "784-100-10"},
              accuracy={"mnist": 0.9631}, parameters={"mnist": 784 * 100 + 1000}, weight_bits=None),
)
"""Systems to compare with."""


def published_rows(dataset: str) -> list[Row]:
    """Published figures for a data set."""
    rows = []
    for system in PUBLISHED:
        if dataset in system.accuracy:
            parameters = system.parameters.get(dataset)
            rows.append(Row(
                name=system.name, source=system.source, network=system.network.get(dataset, ""),
                accuracies=(system.accuracy[dataset],), parameters=parameters,
                memory_bits=parameters * system.weight_bits if parameters and system.weight_bits else None))
    return rows


COLUMNS = ("", "network", "accuracy", "weights", "weight memory", "ECP5 block RAMs", "spikes/image",
           "synaptic operations/image", "updated weights/image", "source")
"""Headings of the table."""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def text(row: Row) -> tuple[str, ...]:
    """A row as text, in the order of the table's columns."""
    accuracy = "" if row.mean is None else f"{100 * row.mean:.2f} %"
    if row.spread is not None:
        accuracy += f" ± {100 * row.spread:.2f}"
    if len(row.accuracies) > 1:
        accuracy += f" (n = {len(row.accuracies)})"
    if row.failures:
        accuracy = f"{accuracy}, {len(row.failures)} failed" if accuracy else "failed"
    memory = "" if row.memory_bits is None else f"{row.memory_bits / 1024:,.0f} kbit"
    return (row.name, row.network, accuracy, _number(row.parameters), memory, _number(row.block_rams),
            _number(row.spikes), _number(row.operations), _number(row.updates), row.source)


def markdown(rows: Sequence[Row], *, title: str, notes: Sequence[str]) -> str:
    """The table as a Markdown page."""
    lines = [f"# {title}", "", *(f"{textwrap.fill(note, 120)}\n" for note in notes),
             "| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    failures = [f"* {row.name}: {message}" for row in rows for message in row.failures]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in text(row)) + " |" for row in rows]
    if failures:
        lines += ["", "Failed:", "", *failures]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, kw_only=True)
class GridCell:
    """One point of a sweep; ``variant`` is a failure where the network is impossible."""

    axes: dict[str, str | int]
    """What is varied, by name."""
    variant: Variant | Failure

    @property
    def name(self) -> str:
        """The values of the axes, for people."""
        return ", ".join(f"{axis} {value}" for axis, value in self.axes.items()) or "as the preset"


def grid(preset: Preset, *, rules: Sequence[NamedRule] = (), weight_bits: Sequence[int] = (),
         hidden: Sequence[int] = (), steps: Sequence[int] = (), roundings: Sequence[Rounding] = (),
         arithmetics: Sequence[Arithmetic] = ()) -> list[GridCell]:
    """All combinations of the values given; an empty axis keeps the preset's value."""
    axes = {"rule": rules, "weight_bits": weight_bits, "hidden": hidden, "steps": steps,
            "rounding": roundings, "arithmetic": arithmetics}
    varied = {name: values for name, values in axes.items() if values}
    cells: list[GridCell] = []
    for values in itertools.product(*varied.values()):
        choice: dict[str, Any] = dict(zip(varied, values, strict=True))
        named = {_AXIS_NAMES[axis]: value if isinstance(value, int) else str(value) for axis, value in choice.items()}
        try:
            arithmetic = choice.pop("arithmetic", Arithmetic.INTEGER)
            chosen = preset.varied(**choice)
            chosen.require_rates()
            variant: Variant | Failure = Variant(name="", preset=chosen, arithmetic=arithmetic)
        except InputError as error:
            variant = Failure(message=str(error))
        cells.append(GridCell(axes=named, variant=variant))
    return cells


_AXIS_NAMES = {"rule": "rule", "weight_bits": "weight bits", "hidden": "hidden neurons", "steps": "steps",
               "rounding": "rounding", "arithmetic": "arithmetic"}
