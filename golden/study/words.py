"""Networks in words: ``conv 16 5x5/2, conv 32 3x3/2 rate -1, dense 10``.

Layers are separated by commas; :data:`GRAMMAR` lists them. Words say the structure, and what layers of one network
often differ in; all else is fixed: the graded form of desire backpropagation with stochastic rounding, 16-bit weights
from -2 to 2, 20 time steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import Formats, Rounding
from lifstream.golden.contract.input import Events, Pixels
from lifstream.golden.contract.network import Layer, NetworkSpec
from lifstream.golden.contract.neurons import Lif
from lifstream.golden.contract.neurons.lif import threshold_behind
from lifstream.golden.contract.readout import SpikeCounts
from lifstream.golden.contract.rules import HIDDEN_THRESHOLD, DesireBackpropagation, Magnitude
from lifstream.golden.contract.synapses import Conv, Dense, Local, Map, SumPool, Synapses

__all__ = ["GRAMMAR", "in_words", "network_from_words"]

GRAMMAR = ("conv CHANNELS KxK[/STRIDE], local CHANNELS KxK[/STRIDE], dense NEURONS, or pool SIZE in front of one; "
           "behind a layer: pad N, rate +N or -N, dropout N (in 1/256), desire N[/RISE] (in 1/65536), "
           "limit SPIKES")
"""The words, for people. Kernel, stride and pad may be pairs, down and right: ``5x3/2x1 pad 2x1``."""

_EXAMPLES = {"conv": "conv 16 5x5/2", "local": "local 8 7x7/3", "dense": "dense 10", "pool": "pool 2"}
_PATCHES: dict[str, type[Conv | Local]] = {"conv": Conv, "local": Local}
_OPTIONS = {"pad": "pad 2", "rate": "rate -1", "dropout": "dropout 32", "desire": "desire 300", "limit": "limit 16"}
_HIDDEN_ONLY = ("dropout", "desire", "limit")
_DESIRE_EXAMPLE = "desire 300, or for more spikes another desire 300/330 (in 1/65536)"
_DIGITS_MAX = 9


@dataclass(frozen=True, kw_only=True)
class _Said:
    """The words of one layer, taken apart: ``conv`` ``16 5x5/2`` ``{pad: 2}``."""

    kind: str
    shape: list[str]
    options: dict[str, str]


def network_from_words(words: str, *, height: int, width: int, classes: int = 1, channels: int = 1,
                       steps: int | None = None) -> NetworkSpec:
    """The contract of a network in words.

    Parameters
    ----------
    words
        Layers from the input to the output, 1 to 8, separated by commas:

        ``conv CHANNELS KxK[/STRIDE]``, ``local CHANNELS KxK[/STRIDE]``
            See :class:`Conv`, :class:`Local`. Kernel and stride are numbers or pairs, down and right. ``pad N`` or
            ``pad NxM`` behind it; default: half the kernel, rounded down, with which an odd kernel and a stride of 1
            keep the map's size.
        ``dense NEURONS``
            See :class:`Dense`. What follows can be dense only.
        ``pool SIZE``
            See :class:`SumPool`; in front of a layer, no layer of its own.

        Behind any but ``pool``: ``rate +N`` or ``rate -N``, the rule's ``rate_offset``, -8..8; ``dropout N``, the
        neurons' ``dropout`` in 1/256, 0..192; ``desire N`` or ``desire N/RISE``, the rule's ``hidden_threshold`` and
        ``rise_threshold`` in 1/65536, 1..2**24; ``limit SPIKES``, its ``rise_limit``, 1..20. The last layer has none of
        these three.
    height, width, channels
        Of the images, which have one channel, or of the map that events come from.
    steps
        Time steps of spike trains; None: the input is images.
    classes
        The last layer must have at least as many neurons.

    Raises
    ------
    InputError
        Words that are none, a number out of bounds, or too few neurons; the message names the layer and the word.
    """
    entrance = Map(height=height, width=width, channels=channels)
    before, mapped = entrance, True
    pooled: Map | None = None  # the map that a pool stands behind
    dropped = size = 0
    layers: list[Layer] = []
    pieces = [" ".join(piece.lower().split()) for piece in words.split(",")]
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        try:
            said = _taken_apart(piece)
            if not mapped and said.kind != "dense":
                raise InputError("a dense layer is before it, and leaves no map; put dense layers last")
            if said.kind == "pool":
                if last:
                    raise InputError("no layer is behind it; put one there, such as dense 10")
                if pooled is not None:
                    raise InputError("another pool is before it; give one of the product of their sizes")
                pooled, size = before, _number(said.shape[0], "size", _EXAMPLES["pool"])
                before = _sums(before, size)
                continue
            synapses = _synapses(said, before)
            mapped = not isinstance(synapses, Dense)
            before = Map(height=1, width=1, channels=synapses.outputs) if isinstance(synapses, Dense) else \
                synapses.outputs
            whole = synapses if pooled is None else SumPool(inputs=pooled, size=size, synapses=synapses)
            layer = _learning(whole, said.options, dropped=dropped)
            layer.rule.check(synapses=whole, formats=layer.formats, neuron=layer.neuron,
                             steps=steps or NetworkSpec.steps)
            layers.append(layer)
            pooled, dropped = None, layers[-1].neuron.dropout
            for word in _HIDDEN_ONLY:
                if last and word in said.options:
                    raise InputError(f"the last layer has no {word}; leave the word out")
            if last and whole.n_out < classes:
                raise InputError(f"the last layer has {whole.n_out} neurons, the data set {classes} classes; give it "
                                 f"at least {classes} neurons")
        except InputError as error:
            raise InputError(f"layers: {piece!r}: {error}") from None
    if steps is not None:
        return NetworkSpec(input=Events(map=entrance), layers=tuple(layers), readout=SpikeCounts(), steps=steps)
    return NetworkSpec(input=Pixels(count=height * width), layers=tuple(layers), readout=SpikeCounts())


def in_words(spec: NetworkSpec) -> str | None:
    """A network's layers in the words of :func:`network_from_words`, its inverse; None where words cannot say them.

    What the words leave open (formats, thresholds, steps, the form of the rule) is not looked at: a network that was
    varied in it has the same words.
    """
    if not isinstance(spec.readout, SpikeCounts):
        return None
    said = []
    for number, layer in enumerate(spec.layers, 1):
        synapses = layer.synapses
        if isinstance(synapses, SumPool):
            said.append(f"pool {synapses.size}")
            synapses = synapses.synapses
        if isinstance(synapses, Dense):
            words = f"dense {synapses.outputs}"
        elif isinstance(synapses, Conv | Local):
            words = f"{synapses.kind} {synapses.channels} {synapses.kernel[0]}x{synapses.kernel[1]}"
            if synapses.stride != (1, 1):
                words += f"/{_pair_in_words(synapses.stride)}"
            if synapses.padding != _half(synapses.kernel):
                words += f" pad {_pair_in_words(synapses.padding)}"
        else:
            return None
        if layer.rule.rate_offset:
            words += f" rate {layer.rule.rate_offset:+d}"
        if layer.neuron.dropout:
            words += f" dropout {layer.neuron.dropout}"
        rule = layer.rule
        if number < len(spec.layers) and isinstance(rule, DesireBackpropagation):
            words += _desires_in_words(rule)
        said.append(words)
    return ", ".join(said)


def _desires_in_words(rule: DesireBackpropagation) -> str:
    """When a hidden neuron has a desire, where that is not as words leave it open."""
    words = ""
    if rule.magnitude is Magnitude.GRADED and rule.hidden_thresholds != (HIDDEN_THRESHOLD,) * 2:
        words += f" desire {rule.hidden_threshold}"
        if rule.rise_threshold is not None:
            words += f"/{rule.rise_threshold}"
    return words if rule.rise_limit is None else f"{words} limit {rule.rise_limit}"


# -- words ----------------------------------------------------------------------------------------


def _taken_apart(piece: str) -> _Said:
    """The words between two commas; whether they are numbers is seen later."""
    if not piece:
        raise InputError("there is no layer; write one there, such as dense 10, or leave a comma out")
    kind, *rest = piece.split(" ")
    if kind not in _EXAMPLES:
        raise InputError(f"{kind!r} is no layer; write one like: {', '.join(_EXAMPLES.values())}")
    count = 2 if kind in _PATCHES else 1
    shape, further = rest[:count], rest[count:]
    if len(shape) < count:
        raise InputError(f"there are too few words; write it as in {_EXAMPLES[kind]}")
    possible = [name for name in _OPTIONS if kind != "pool" and (name != "pad" or kind in _PATCHES)]
    options: dict[str, str] = {}
    for name, value in zip(further[::2], [*further[1::2], ""], strict=False):
        if name in _EXAMPLES:
            raise InputError(f"a comma is missing before {name!r}")
        if name not in possible:
            behind = ", ".join(_OPTIONS[each] for each in possible)
            raise InputError(f"{name!r} cannot stand behind {kind}; what can: {behind or 'nothing'}")
        if name in options:
            raise InputError(f"{name} is given twice; leave one out")
        if not value:
            raise InputError(f"{name} has no number; write it as in {_OPTIONS[name]}")
        options[name] = value
    return _Said(kind=kind, shape=shape, options=options)


def _whole(word: str) -> bool:
    """Whether it is a whole number that is not negative; bounds are the contract's."""
    return word.isascii() and word.isdigit() and len(word) <= _DIGITS_MAX


def _number(word: str, what: str, example: str) -> int:
    if not _whole(word):
        raise InputError(f"{word!r} is no {what}; write a whole number, as in {example}")
    return int(word)


def _offset(word: str) -> int:
    """A whole number with a sign, or without."""
    sign = -1 if word.startswith("-") else 1
    return sign * _number(word[1:] if word.startswith(("+", "-")) else word, "rate", "rate +1 or rate -1")


def _pair(word: str, what: str, example: str, *, twice: bool = True) -> tuple[int, int]:
    """Down and right: ``5x3``; with ``twice``, ``5`` is ``5x5``."""
    parts = word.split("x")
    if not all(map(_whole, parts)) or len(parts) > 2 or (len(parts) == 1 and not twice):
        raise InputError(f"{word!r} is no {what}; write it as in {example}")
    return int(parts[0]), int(parts[-1])


def _pair_in_words(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def _half(kernel: tuple[int, int]) -> tuple[int, int]:
    """The padding that is not said."""
    return kernel[0] // 2, kernel[1] // 2


# -- layers ---------------------------------------------------------------------------------------


def _sums(inputs: Map, size: int) -> Map:
    """The map of sums over squares of a map."""
    for axis, extent in (("height", inputs.height), ("width", inputs.width)):
        if size < 1 or extent % size:
            raise InputError(f"{size} does not divide the map's {axis} of {extent}; give a size that does")
    return Map(height=inputs.height // size, width=inputs.width // size, channels=inputs.channels)


def _synapses(said: _Said, before: Map) -> Dense | Conv | Local:
    if said.kind == "dense":
        return Dense(inputs=before.neurons, outputs=_number(said.shape[0], "number of neurons", _EXAMPLES["dense"]))
    extent, slash, step = said.shape[1].partition("/")
    kernel = _pair(extent, "kernel", "5x5, or with a stride 5x5/2", twice=False)
    stride = _pair(step, "stride", "5x5/2 or 5x5/2x1") if slash else (1, 1)
    padding = _pair(said.options["pad"], "pad", "pad 2 or pad 2x1") if "pad" in said.options else _half(kernel)
    channels = _number(said.shape[0], "number of channels", _EXAMPLES[said.kind])
    return _PATCHES[said.kind](inputs=before, channels=channels, kernel=kernel, stride=stride, padding=padding)


def _learning(synapses: Synapses, options: dict[str, str], *, dropped: int) -> Layer:
    """A layer that learns by the graded rule, with stochastic rounding: shared weights change often, and by little.

    ``dropped`` is the dropout of the layer before.
    """
    formats = Formats()
    desire, slash, rise = options.get("desire", str(HIDDEN_THRESHOLD)).partition("/")
    return Layer(
        synapses=synapses, formats=formats,
        neuron=Lif(threshold=formats.one, training_threshold=threshold_behind(dropped, threshold=formats.one),
                   dropout=_number(options.get("dropout", "0"), "dropout", "dropout 32 (in 1/256)")),
        rule=DesireBackpropagation(
            rounding=Rounding.STOCHASTIC, rate_offset=_offset(options.get("rate", "+0")),
            hidden_threshold=_number(desire, "desire", _DESIRE_EXAMPLE),
            rise_threshold=_number(rise, "desire", _DESIRE_EXAMPLE) if slash else None,
            rise_limit=_number(options["limit"], "limit", "limit 16 (spikes)") if "limit" in options else None))
