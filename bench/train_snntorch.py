"""Train a small convolutional network in snnTorch on MNIST and export it to NIR: what ``lifstream import`` is tried on.

    pip install 'lifstream[snntorch]'
    python -m bench.train_snntorch --out bench/snntorch-mnist.nir
    lifstream import bench/snntorch-mnist.nir --calibrate mnist --steps 20 --out m.npz
    lifstream eval m.npz

Images come as the spike trains of lifstream's encoder, so that snnTorch and the integers see the same. Everything that
snnTorch brings is used as it comes: its neurons, its loss, its export. The epoch is chosen by validation images, the
test set is used once, at the end. One core, and with one seed the same weights again on the same machine and version.
"""

from __future__ import annotations

import enum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from lifstream.console import error_line
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.neurons import Reset
from lifstream.golden.files import require_place
from lifstream.golden.model.encoder import encode
from lifstream.golden.model.readouts import NO_PREDICTION, unique_maximum
from lifstream.golden.study.datasets import Split, load_dataset
from lifstream.golden.study.nir_graph import chain_of, write_graph
from lifstream.golden.study.real_network import run

try:
    import snntorch
    import snntorch.functional
    import snntorch.utils
    import torch
    from snntorch.export_nir import export_to_nir
except ImportError as error:
    error_line(f"{error.name}: the Python package is missing; install it with: pip install 'lifstream[snntorch]'")
    raise SystemExit(2) from None

BETA = 0.875
"""What is left of a membrane potential a step later: 7/8, in hardware a shift and a subtraction."""

CHECKED = 100
"""Validation images whose every spike is compared with that of the graph read back."""


class ResetMechanism(enum.StrEnum):
    """What a spike does, as snnTorch names it."""

    ZERO = "zero"
    """NIR's own."""
    SUBTRACT = "subtract"
    """snnTorch's default: the threshold is taken off a step later, after the decay."""


def network(*, channels: int, reset: ResetMechanism) -> torch.nn.Sequential:
    """1x28x28 pixels' spikes to those of 10 neurons, a step at a time; states are inside."""
    def neurons(*shape: int) -> snntorch.Leaky:
        # Parameters of every neuron: of a single number snnTorch's export makes neurons of no shape, and refuses them.
        return snntorch.Leaky(beta=torch.full(shape, BETA), threshold=torch.ones(shape), init_hidden=True,
                              reset_mechanism=reset.value)

    return torch.nn.Sequential(
        torch.nn.Conv2d(1, channels, 5, stride=2), neurons(channels, 12, 12),
        torch.nn.Flatten(), torch.nn.Linear(channels * 12 * 12, 10), neurons(10))


def spike_trains(images: np.ndarray, steps: int) -> torch.Tensor:
    """uint8 (count, 784) to float32 (T, count, 1, 28, 28)."""
    spikes = np.moveaxis(encode(images, steps), -2, 0)
    return torch.from_numpy(np.ascontiguousarray(spikes).reshape(steps, len(images), 1, 28, 28)).float()


def answer(net: torch.nn.Sequential, spikes: torch.Tensor) -> torch.Tensor:
    """Spikes of the last layer, (T, count, 10), of samples that begin at rest."""
    snntorch.utils.reset(net)
    return torch.stack([net(step) for step in spikes])


def accuracy(net: torch.nn.Sequential, split: Split, steps: int) -> tuple[float, float]:
    """Share of samples whose class has the most spikes, alone, and of those where several classes have as many."""
    found = []
    with torch.no_grad():
        for start in range(0, len(split), 500):
            counts = answer(net, spike_trains(split.images[start:start + 500], steps)).sum(dim=0)
            found.append(unique_maximum(counts.numpy().astype(np.int64)))
    predictions = np.concatenate(found)
    return float((predictions == split.labels).mean()), float((predictions == NO_PREDICTION).mean())


def epoch(net: torch.nn.Sequential, split: Split, *, steps: int, batch: int, optimiser: Any, schedule: Any,
          random: torch.Generator) -> float:
    """Learn from every sample once, in random order; the mean loss."""
    loss_of, total = snntorch.functional.ce_count_loss(), 0.0
    for chosen in torch.randperm(len(split), generator=random).split(batch):
        part = split[chosen.numpy()]
        loss = loss_of(answer(net, spike_trains(part.images, steps)), torch.from_numpy(part.labels.astype(np.int64)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        total += loss.item() * len(part)
    return total / len(split)


def differing(net: torch.nn.Sequential, graph: Any, images: np.ndarray, *, steps: int, reset: ResetMechanism
              ) -> list[tuple[int, int]]:
    """Of each layer of neurons: spikes that are elsewhere where lifstream reads the graph, in real numbers, and all of
    snnTorch's, over uint8 images (count, 784)."""
    theirs: list[list[np.ndarray]] = []
    snntorch.utils.reset(net)
    with torch.no_grad():
        for step in spike_trains(images, steps):
            theirs.append([])
            for part in net:
                step = part(step)
                if isinstance(part, snntorch.Leaky):
                    theirs[-1].append(step.numpy() > 0)
    real = chain_of(graph, reset=Reset.SUBTRACT if reset is ResetMechanism.SUBTRACT else None)
    found = []
    for ours, trains in zip(run(real.layers, encode(images, steps)), zip(*theirs, strict=True), strict=True):
        channels_first = np.stack(trains, axis=1)
        spikes = np.moveaxis(channels_first, 2, -1).reshape(ours.spikes.shape)
        found.append((int((ours.spikes != spikes).sum()), int(spikes.sum())))
    return found


def main(out: Annotated[Path, typer.Option(help="Write the graph here (.nir).")],
         reset: Annotated[ResetMechanism, typer.Option(help="What a spike does.")] = ResetMechanism.ZERO,
         channels: Annotated[int, typer.Option(min=1, help="Channels of the convolution.")] = 8,
         steps: Annotated[int, typer.Option(min=1, help="Time steps of a sample.")] = 20,
         epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 6,
         batch: Annotated[int, typer.Option(min=1, help="Samples of a step of the optimiser.")] = 100,
         rate: Annotated[float, typer.Option(help="Learning rate at the beginning; it falls to 0 as a cosine.")] = 5e-3,
         validation: Annotated[int, typer.Option(
             min=CHECKED, help="Training images by which the epoch is chosen.")] = 5_000,
         seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 1,
         data_dir: Annotated[Path | None, typer.Option(help="Folder of the IDX files, as of lifstream train.")] = None,
         ) -> None:
    """Train, choose the epoch, export it, tell its accuracy in snnTorch, and compare its spikes with the graph's."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    try:
        require_place(out)
        dataset = load_dataset("mnist", data_dir=data_dir)
        training, held_out = dataset.split_validation(validation, seed)
    except InputError as error:
        error_line(str(error))
        raise typer.Exit(2) from None
    net = network(channels=channels, reset=reset)
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=epochs * -(-len(training) // batch))
    random = torch.Generator().manual_seed(seed)
    best, chosen = -1.0, {}
    for number in range(1, epochs + 1):
        loss = epoch(net, training, steps=steps, batch=batch, optimiser=optimiser, schedule=schedule, random=random)
        share, ties = accuracy(net, held_out, steps)
        print(f"epoch {number}: loss {loss:.4f}, validation accuracy {share:.2%} ({ties:.2%} ties)", flush=True)
        if share > best:
            best, chosen = share, {name: values.clone() for name, values in net.state_dict().items()}
    net.load_state_dict(chosen)
    share, ties = accuracy(net, dataset.test, steps)
    print(f"test accuracy {share:.2%} ({ties:.2%} ties, counted as wrong), validation {best:.2%}")
    snntorch.utils.reset(net)
    graph = export_to_nir(net, spike_trains(dataset.test.images[:1], steps)[0], ignore_dims=[0])
    graph.metadata = {
        "trained_by": f"python -m bench.train_snntorch --reset {reset} --channels {channels} --steps {steps} "
                      f"--epochs {epochs} --batch {batch} --rate {rate:g} --validation {validation} --seed {seed}",
        "versions": ", ".join(f"{name} {version(name)}" for name in ("snntorch", "torch", "nir", "nirtorch", "numpy")),
        "dataset": "mnist", "validation_accuracy": f"{best:.4f}", "test_accuracy": f"{share:.4f}"}
    write_graph(out, graph)
    print(f"wrote {out}, {out.stat().st_size:,} bytes")
    for number, (differ, spikes) in enumerate(
            differing(net, graph, held_out.images[:CHECKED], steps=steps, reset=reset), 1):
        print(f"layer {number}, read back in real numbers: {differ:,} of {spikes:,} spikes differ on {CHECKED} images")


if __name__ == "__main__":
    typer.run(main)
