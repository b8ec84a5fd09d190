"""Spiking-network hardware that learns on chip: networks, training, Verilog, co-simulation, boards.

A network is named by a preset or in words, trained in the golden model, emitted as Verilog, compared with it bit by
bit, and put on a board. The same integers everywhere::

    import lifstream

    network = lifstream.network("dense 32, dense 10", dataset="digits").planned(epochs=3)
    model = lifstream.train(network)                        # a Model: weights and where they come from
    print(lifstream.evaluate(model).accuracy)
    lifstream.save(model, "m.npz")                          # load("m.npz"), or a released model: load("digits")

    lifstream.write_verilog(model, "build/m")               # extra 'verilog'
    result = lifstream.cosimulate(model, images=20)         # extra 'sim': every spike and potential compared
    assert result.bit_exact, result.message

    with lifstream.simulated_board(model) as board:         # extra 'sim'; connect(model, port) for a real one
        board.load(model.network)
        print(board.infer(lifstream.load_data("digits").test.images[0]).prediction)

    lifstream.build_bitstream(model, "icebreaker", "build/ice")     # extra 'boards'

Bad input raises :class:`InputError`, in one line that says what to do; so does a missing extra
(``pip install 'lifstream[NAME]'``): ``twin`` (compiled training), ``verilog``, ``sim``, ``boards``, ``figures``,
``nir``, ``dask``, or ``all``.

Declarations of one's own start at :class:`NetworkSpec`. The rooms ``lifstream.golden`` (what is true),
``lifstream.hdl`` (what is built), ``lifstream.sim`` (what is checked) and ``lifstream.boards`` (where it runs) are the
folders of these names at the top of the source tree; names that are not listed here may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lifstream.boards.host import Answer, Board
    from lifstream.golden.contract.errors import InputError
    from lifstream.golden.contract.formats import Formats, Overflow, Rounding
    from lifstream.golden.contract.input import Events, Pixels
    from lifstream.golden.contract.network import Layer, NetworkSpec
    from lifstream.golden.contract.neurons import Comparison, CompetingLif, CubaLif, Decay, Lif, PerNeuron, Reset
    from lifstream.golden.contract.readout import Potentials, SpikeCounts, Statistic, Votes
    from lifstream.golden.contract.rules import DesireBackpropagation, Fixed, PairStdp
    from lifstream.golden.contract.synapses import Augmented, Conv, Dense, Local, Map, SumPool
    from lifstream.golden.model.network import Network
    from lifstream.golden.study.datasets import DATASETS, Dataset, Split
    from lifstream.golden.study.model_files import Model, released_models
    from lifstream.golden.study.nir_import import Imported, export_nir, import_nir
    from lifstream.golden.study.own_data import load_data
    from lifstream.golden.study.presets import PRESETS, Preset, TrainingPlan
    from lifstream.golden.study.training import EpochMetrics, Progress, Trainer
    from lifstream.golden.twin.engine import Engine, Outcome, Runner
    from lifstream.hdl.geometry import Geometry, balanced_lanes
    from lifstream.library import (
        Evaluation,
        Generated,
        Interface,
        build_bitstream,
        connect,
        cosimulate,
        emit,
        evaluate,
        load,
        network,
        preset,
        save,
        simulated_board,
        train,
        untrained,
        write_verilog,
    )
    from lifstream.sim.cosim import Continuation, CosimResult, Recording, Stalls, Surroundings
    from lifstream.sim.faults import Fault
    from lifstream.sim.runner import Simulator

    __version__: str

_MODULES = {
    "library": ("network preset untrained load save train evaluate Evaluation emit write_verilog Generated Interface "
                "cosimulate build_bitstream connect simulated_board"),
    "golden.contract.errors": "InputError",
    "golden.contract.network": "NetworkSpec Layer",
    "golden.contract.input": "Pixels Events",
    "golden.contract.synapses": "Dense Conv Local SumPool Augmented Map",
    "golden.contract.neurons": "Lif CubaLif CompetingLif Decay Reset Comparison PerNeuron",
    "golden.contract.rules": "DesireBackpropagation PairStdp Fixed",
    "golden.contract.readout": "SpikeCounts Votes Potentials Statistic",
    "golden.contract.formats": "Formats Rounding Overflow",
    "golden.model.network": "Network",
    "golden.study.presets": "Preset TrainingPlan PRESETS",
    "golden.study.model_files": "Model released_models",
    "golden.study.nir_import": "import_nir export_nir Imported",
    "golden.study.datasets": "Dataset Split DATASETS",
    "golden.study.own_data": "load_data",
    "golden.study.training": "Trainer EpochMetrics Progress",
    "golden.twin.engine": "Engine Runner Outcome",
    "hdl.geometry": "Geometry balanced_lanes",
    "sim.cosim": "CosimResult Surroundings Stalls Recording Continuation",
    "sim.faults": "Fault",
    "sim.runner": "Simulator",
    "boards.host": "Board Answer",
}
"""Where the names are that this package offers; a module is imported when one of its names is asked for."""

_HOMES = {name: f"lifstream.{module}" for module, names in _MODULES.items() for name in names.split()}

__all__ = [
    "DATASETS", "PRESETS", "Answer", "Augmented", "Board", "Comparison", "CompetingLif", "Continuation", "Conv",
    "CosimResult", "CubaLif", "Dataset", "Decay", "Dense", "DesireBackpropagation", "Engine", "EpochMetrics",
    "Evaluation", "Events", "Fault", "Fixed", "Formats", "Generated", "Geometry", "Imported", "InputError", "Interface",
    "Layer", "Lif", "Local", "Map", "Model", "Network", "NetworkSpec", "Outcome", "Overflow", "PairStdp", "PerNeuron",
    "Pixels", "Potentials", "Preset", "Progress", "Recording", "Reset", "Rounding", "Runner", "Simulator",
    "SpikeCounts", "Split", "Stalls", "Statistic", "SumPool", "Surroundings", "Trainer", "TrainingPlan", "Votes",
    "__version__", "balanced_lanes", "build_bitstream", "connect", "cosimulate", "emit", "evaluate", "export_nir",
    "import_nir", "load", "load_data", "network", "preset", "released_models", "save", "simulated_board", "train",
    "untrained", "write_verilog",
]


if not TYPE_CHECKING:     # type checkers would take any name for one of ours
    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import PackageNotFoundError, version

            try:
                value: Any = version("lifstream")
            except PackageNotFoundError:  # run from a source tree that was never installed
                value = "unknown"
        elif name in _HOMES:
            value = getattr(import_module(_HOMES[name]), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
