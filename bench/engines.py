"""Speed of the compiled kernels and of the NumPy definition, as rates and ratios within one run.

    python -m bench.engines --preset mnist-256 --images 2000
"""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lifstream.golden.contract.flat import NamedRule
from lifstream.golden.model.network import Network
from lifstream.golden.study.datasets import load_dataset
from lifstream.golden.study.presets import preset_by_name
from lifstream.golden.twin.engine import Engine, Runner


def main(preset: Annotated[str, typer.Option(help="Network to time.")] = "mnist-256",
         images: Annotated[int, typer.Option(help="Training images to learn from and to classify.")] = 2_000,
         rule: Annotated[NamedRule | None, typer.Option(help="Form of the learning rule; default: the preset's.")]
         = None,
         warm: Annotated[int, typer.Option(help="Images learnt from beforehand; trained networks learn less often.")]
         = 10_000) -> None:
    """Images per second of each engine on one core, learning and classifying, and how often samples learnt."""
    chosen = preset_by_name(preset).varied(rule=rule)
    train = load_dataset(chosen.dataset).train
    rate_shift = chosen.training.rate_shift
    start = Runner(network=Network.initial(spec=chosen.spec, seed=1))
    start.prepare(learning=True)
    start.learn(train.images[:warm], train.labels[:warm], rate_shift=rate_shift)
    part = train[slice(warm, warm + images)] if len(train) >= warm + images else train[slice(images)]
    rates: dict[Engine, tuple[float, float]] = {}
    learned = 0.0
    for engine in Engine:
        runner = Runner(network=Network(spec=chosen.spec, weights=start.network.weights), engine=engine)
        runner.prepare(learning=True)
        times = [time.perf_counter()]
        learned = float(runner.learn(part.images, part.labels, rate_shift=rate_shift).learned.mean())
        times.append(time.perf_counter())
        runner.infer(part.images)
        times.append(time.perf_counter())
        rates[engine] = len(part) / (times[1] - times[0]), len(part) / (times[2] - times[1])
    table = Table(title=f"{preset}, {chosen.spec.rule} rule, {learned:.0%} of the samples learnt", box=None)
    for heading in ("engine", "learning, images/s", "classifying, images/s"):
        table.add_column(heading, justify="right")
    for engine, (learning, classifying) in rates.items():
        table.add_row(engine, f"{learning:,.0f}", f"{classifying:,.0f}")
    table.add_row("ratio", *(f"{fast / slow:.1f}" for fast, slow in zip(*rates.values(), strict=True)))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
