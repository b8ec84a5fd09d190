"""A float64 interpreter of NIR graphs, from the equations that NIR documents: nothing of ours is in it.

Signals are arrays in NIR's own order, channel first. Every node acts on the present step's values; an edge that closes
a loop carries those of the step before. Differential equations are solved as the caller says: exactly for currents
that are constant over a step, or by one Euler step.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def _conv2d(node: Any, x: np.ndarray) -> np.ndarray:
    weight, groups = np.asarray(node.weight, dtype=np.float64), int(node.groups)
    (down, right), (dy, dx) = np.broadcast_to(node.stride, 2), np.broadcast_to(node.dilation, 2)
    if isinstance(node.padding, str):
        pads = (0, 0) if node.padding == "valid" else tuple((extent - 1) // 2 for extent in weight.shape[2:])
    else:
        pads = tuple(np.broadcast_to(node.padding, 2))
    x = np.pad(x, ((0, 0), (pads[0],) * 2, (pads[1],) * 2))
    height = (x.shape[1] - (weight.shape[2] - 1) * dy - 1) // down + 1
    width = (x.shape[2] - (weight.shape[3] - 1) * dx - 1) // right + 1
    out = np.zeros((len(weight), height, width))
    per_group = len(weight) // groups
    for channel, kernel in enumerate(weight):
        first = channel // per_group * kernel.shape[0]
        for y in range(height):
            for x_ in range(width):
                patch = x[first:first + kernel.shape[0],
                          y * down:y * down + (kernel.shape[1] - 1) * dy + 1:dy,
                          x_ * right:x_ * right + (kernel.shape[2] - 1) * dx + 1:dx]
                out[channel, y, x_] = (kernel * patch).sum()
    return out + np.asarray(node.bias, dtype=np.float64).reshape(-1, 1, 1)


def _pool(node: Any, x: np.ndarray, *, mean: bool) -> np.ndarray:
    size = np.broadcast_to(node.kernel_size, 2)
    tiles = x.reshape(len(x), x.shape[1] // size[0], size[0], x.shape[2] // size[1], size[1])
    return tiles.mean(axis=(2, 4)) if mean else tiles.sum(axis=(2, 4))


def _linear(node: Any, x: np.ndarray) -> np.ndarray:
    match type(node).__name__:
        case "Affine":
            return np.asarray(node.weight, dtype=np.float64) @ x + node.bias
        case "Linear":
            return np.asarray(node.weight, dtype=np.float64) @ x
        case "Scale":
            return x * node.scale
        case "Flatten":
            return x.reshape(-1)
        case "SumPool2d":
            return _pool(node, x, mean=False)
        case "AvgPool2d":
            return _pool(node, x, mean=True)
        case "Conv2d":
            return _conv2d(node, x)
        case "Conv1d":
            shim = type("Conv", (), {
                "weight": np.asarray(node.weight)[:, :, None, :], "groups": node.groups, "bias": node.bias,
                "stride": (1, int(np.ravel(node.stride)[0])), "dilation": (1, int(np.ravel(node.dilation)[0])),
                "padding": node.padding if isinstance(node.padding, str) else (0, int(np.ravel(node.padding)[0]))})
            return _conv2d(shim, x[:, None, :])[:, 0]
        case "Input" | "Output":
            return x
    raise AssertionError(type(node).__name__)


class _Neurons:
    """IF, LIF, CubaLIF and Threshold; I, LI and CubaLI, which do not spike. A spike is an impulse: it lifts IF by
    r * w; into a leak it is a current over one step."""

    def __init__(self, node: Any, dt: float, *, exact: bool, subtract: bool) -> None:
        self.node, self.kind, self.subtract = node, type(node).__name__, subtract
        self.potential: Any = getattr(node, "v_leak", 0.0) + 0.0
        self.current: Any = 0.0

        def share(tau: Any) -> Any:
            return np.exp(-dt / np.asarray(tau)) if exact else 1 - dt / np.asarray(tau)

        if self.kind in ("LIF", "LI"):
            self.kept = share(node.tau)
        if self.kind.startswith("Cuba"):
            self.kept, self.kept_current = share(node.tau_mem), share(node.tau_syn)

    def step(self, x: np.ndarray) -> np.ndarray:
        node = self.node
        if self.kind == "Threshold":
            return (x > node.threshold).astype(float)
        if self.kind in ("IF", "I"):
            self.potential = self.potential + node.r * x
        else:
            drive = x
            if self.kind.startswith("Cuba"):
                self.current = self.kept_current * self.current + (1 - self.kept_current) * node.w_in * x
                drive = self.current
            self.potential = node.v_leak + self.kept * (self.potential - node.v_leak) + (1 - self.kept) * node.r * drive
        if not hasattr(node, "v_threshold"):
            return np.array(self.potential)
        fired = self.potential > node.v_threshold
        rest = getattr(node, "v_leak", 0.0)
        after = self.potential - (node.v_threshold - rest) if self.subtract else \
            (node.v_reset if node.v_reset is not None else 0.0)
        self.potential = np.where(fired, after, self.potential)
        return fired.astype(float)


def run(graph: Any, inputs: np.ndarray, *, dt: float, exact: bool = True, subtract: bool = False
        ) -> dict[str, np.ndarray]:
    """Spikes of every neuron node, of those that do not spike their potentials, (T, ...) by name, for inputs
    (T, ...)."""
    nodes, edges = graph.nodes, list(graph.edges)
    neurons = {name: _Neurons(node, dt, exact=exact, subtract=subtract) for name, node in nodes.items()
               if type(node).__name__ in ("IF", "LIF", "CubaLIF", "Threshold", "I", "LI", "CubaLI")}
    order = _order(nodes, edges)
    found: dict[str, list[np.ndarray]] = {name: [] for name in neurons}
    before: dict[str, np.ndarray] = {}
    for x in inputs:
        now: dict[str, np.ndarray] = {}
        for name in order:
            value: Any = x if type(nodes[name]).__name__ == "Input" else 0.0
            for source, target in edges:
                if target == name:
                    late = order.index(source) >= order.index(name)
                    value = value + (before.get(source, _of_silence(nodes[source])) if late else now[source])
            if name in neurons:
                now[name] = neurons[name].step(np.asarray(value))
                found[name].append(now[name])
            else:
                now[name] = _linear(nodes[name], value)
        before = now
    return {name: np.array(trains) for name, trains in found.items()}


def _of_silence(node: Any) -> Any:
    """What comes through a loop before anything has fired: a bias does."""
    return _linear(node, np.zeros(np.shape(node.weight)[1])) if hasattr(node, "weight") else 0.0


def _order(nodes: dict[str, Any], edges: list[tuple[str, str]]) -> list[str]:
    """Names by distance from the input: what closes a loop comes last, and is heard in the next step."""
    start = next(name for name, node in nodes.items() if type(node).__name__ == "Input")
    distance = {start: 0}
    queue = [start]
    while queue:
        name = queue.pop(0)
        for source, target in edges:
            if source == name and target not in distance:
                distance[target] = distance[name] + 1
                queue.append(target)
    # A linear node on a way back to neurons acts in the step in which they fired; only its result is late.
    return sorted(nodes, key=lambda name: distance.get(name, math.inf))
