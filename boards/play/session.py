"""A chip that is drawn to and taught, and the golden model beside it: whatever the chip says is compared."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lifstream.boards.host import Answer
from lifstream.boards.play.drawing import Framing
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.rules import DesireBackpropagation
from lifstream.golden.model.draws import DrawGenerator
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.model.protocols import ForwardRecord
from lifstream.golden.study.datasets import Dataset
from lifstream.golden.study.model_files import Model

__all__ = ["WINDOW", "Chip", "GoldenChip", "Lesson", "Meter", "Said", "Session", "require_playable"]

WINDOW = 100
"""Test images that the recent accuracy is of."""

_REMEMBERED = 12
"""Lessons that are asked again after each, and can be undone."""
_POINTS_MAX = 600
"""Points of the meter's curve that are kept."""


class Chip(Protocol):
    """What a session needs of :class:`lifstream.boards.host.Board`."""

    def load(self, network: Network) -> None: ...
    def infer(self, image: NDArray[np.uint8]) -> Answer: ...
    def train(self, image: NDArray[np.uint8], label: int) -> Answer: ...
    def set_rate_shift(self, rate_shift: int) -> None: ...
    def seed(self, states: list[int]) -> None: ...
    def learnt_state(self) -> dict[str, list[NDArray[Any]]]: ...


def _answer(record: ForwardRecord) -> Answer:
    return Answer(int(record.prediction), record.responses)


class GoldenChip:
    """No chip: the golden model in its place."""

    def __init__(self, spec: NetworkSpec) -> None:
        self._network = Network.initial(spec=spec, seed=1)
        self._draws, self._rate_shift = DrawGenerator(spec), spec.rate_shift_range[0]

    def load(self, network: Network) -> None:
        self._network = _copy(network)

    def infer(self, image: NDArray[np.uint8]) -> Answer:
        return _answer(self._network.classify(image))

    def train(self, image: NDArray[np.uint8], label: int) -> Answer:
        return _answer(learn(self._network, image, label, rate_shift=self._rate_shift,
                             **self._draws.draw()._asdict()).forward)

    def set_rate_shift(self, rate_shift: int) -> None:
        self._rate_shift = rate_shift

    def seed(self, states: list[int]) -> None:
        self._draws.states = list(states)

    def learnt_state(self) -> dict[str, list[NDArray[Any]]]:
        return _copy(self._network).state


def _copy(network: Network) -> Network:
    state: dict[str, Any] = network.state
    return Network(spec=network.spec, **state)


def require_playable(spec: NetworkSpec) -> None:
    """Raise InputError for a network that is not shown images, or not taught by labels."""
    if isinstance(spec.input, Events):
        raise InputError("play: the network takes events, not images to draw; name a model of images")
    if not isinstance(spec.layers[-1].rule, DesireBackpropagation):
        raise InputError(f"play: the network's rule is {spec.layers[-1].rule.kind}, by which no label can be taught; "
                         "name a model that learns by desire backpropagation")


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the chip said about an image, and what the golden model did."""

    drawing: NDArray[np.uint8] | None
    """What was drawn, uint8 (n, n); None for a test image."""
    image: NDArray[np.uint8]
    """What the network was shown."""
    answer: Answer
    record: ForwardRecord
    """Of the golden model: the chip does not tell what goes on inside."""
    equal: bool
    """The chip's answer and spike counts are the golden model's."""
    label: int | None = None
    """Of a test image."""


@dataclass(kw_only=True)
class Lesson:
    """Repetitions of one drawing with one label."""

    drawing: NDArray[np.uint8] | None
    image: NDArray[np.uint8]
    label: int
    repetitions: int
    rate_shift: int
    known: bool
    """The chip answers the label now."""
    before: _Point
    accuracy: float | None
    """Of the meter's window when the lesson began."""


@dataclass(frozen=True)
class _Point:
    """The network before a lesson."""

    network: Network
    draws: list[int]


@dataclass(kw_only=True)
class Meter:
    """Accuracy over a stream of test images."""

    seen: int = 0
    right: int = 0
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))
    points: list[tuple[int, float]] = field(default_factory=list)
    """Images seen, and the accuracy of the window then; thinned out when they become many."""
    lessons: list[int] = field(default_factory=list)
    """Images seen when lessons ended."""

    @property
    def accuracy(self) -> float | None:
        """Of the last :data:`WINDOW` images, None before the first."""
        return sum(self.recent) / len(self.recent) if self.recent else None

    def count(self, right: bool) -> None:
        """One image more."""
        self.seen += 1
        self.right += right
        self.recent.append(right)
        self.points.append((self.seen, sum(self.recent) / len(self.recent)))
        if len(self.points) > _POINTS_MAX:
            del self.points[1::2]


class Session:
    """A chip and the golden model, which are told the same.

    Parameters
    ----------
    model
        What the chip is loaded with.
    dataset
        Supplies the test stream, and how its images are framed.
    rate_shift
        Learning rate 2**-rate_shift; None takes that of the model's first epoch.

    Raises
    ------
    InputError
        The network is not shown images or not taught by labels, the images are not those that it takes, or the rate
        shift is out of bounds.
    """

    def __init__(self, *, model: Model, dataset: Dataset, rate_shift: int | None = None) -> None:
        spec = model.network.spec
        require_playable(spec)
        dataset.require_fit(spec)
        self.model, self.dataset, self.spec = model, dataset, spec
        self.framing = Framing.of(dataset.train, height=dataset.height, width=dataset.width)
        self.network = _copy(model.network)
        self.meter = Meter()
        self.said: Said | None = None
        self.lessons: list[Lesson] = []
        self.compared = 0
        """Answers of the chip that were compared."""
        self.differences: list[str] = []
        """What the chip said or held that is not what the golden model did, the first ones."""
        self.different = 0
        """How many there were."""
        self.chip_weights = [matrix.copy() for matrix in model.network.weights]
        """As last loaded into the chip, or read from it."""
        self.unread = False
        """The chip has learnt since its weights were read."""
        self.wrong = False
        """They were not the golden model's when they were last read."""
        self.previous = self.chip_weights
        """Before the last lesson."""
        self.taught = 0
        """Lessons that count in the network as it is."""
        self._draws = DrawGenerator(spec)
        self._chip: Chip | None = None
        self._shown = 0
        low, high = spec.rate_shift_range
        self.rate_shift = min(max(model.plan.rate_shift, low), high) if rate_shift is None else rate_shift
        self._require_rate_shift(self.rate_shift)

    # -- the chip ------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether there is a chip."""
        return self._chip is not None

    def connect(self, chip: Chip) -> None:
        """Load the network into a chip, and go on with that."""
        self._chip = chip
        self.load()

    def load(self) -> None:
        """Load the network, as the golden model has it, into the chip: whatever that was, both are equal again."""
        self._there.load(self.network)
        self._there.set_rate_shift(self.rate_shift)
        if self._draws.states:
            self._there.seed(self._draws.states)
        self.chip_weights = [matrix.copy() for matrix in self.network.weights]
        self.unread = self.wrong = False
        self.differences, self.different = [], 0

    @property
    def _there(self) -> Chip:
        if self._chip is None:
            raise InputError("chip: not connected yet")
        return self._chip

    def _differ(self, what: str) -> None:
        self.different += 1
        if len(self.differences) < 10:
            self.differences.append(what)

    def _compare(self, what: str, answer: Answer, expected: Answer) -> bool:
        self.compared += 1
        if answer.prediction == expected.prediction and (answer.responses == expected.responses).all():
            return True
        self._differ(f"{what}: the chip answered {answer.prediction} with spike counts {answer.responses.tolist()}, "
                     f"the golden model {expected.prediction} with {expected.responses.tolist()}")
        return False

    def read_back(self) -> None:
        """Read the chip's weights and compare them, every one."""
        read = self._there.learnt_state()
        self.chip_weights, self.unread = [np.array(matrix) for matrix in read["weights"]], False
        self.wrong = False
        for name, arrays in self.network.state.items():
            for index, (got, wanted) in enumerate(zip(read[name], arrays, strict=True)):
                wrong = int((got != wanted).sum())
                if wrong:
                    self.wrong = True
                    self._differ(f"{name} of layer {index}: {wrong:,} of {wanted.size:,} in the chip are not the "
                                 "golden model's")

    # -- answers -------------------------------------------------------------------------------

    def ask(self, drawing: NDArray[np.uint8]) -> None:
        """Classify a drawing, uint8 (n, n)."""
        self.said = self._classified("a drawing", self.framing.image(drawing), drawing=drawing)

    def ask_test_image(self, index: int | None = None) -> None:
        """Classify a test image by its number, or the stream's next."""
        test = self.dataset.test
        chosen = self._shown % len(test) if index is None else index
        self._shown = chosen + 1
        self.said = self._classified(f"test image {chosen}", test.images[chosen], label=int(test.labels[chosen]))

    def _classified(self, what: str, image: NDArray[np.uint8], *, drawing: NDArray[np.uint8] | None = None,
                    label: int | None = None) -> Said:
        answer, record = self._there.infer(image), self.network.classify(image)
        return Said(drawing=drawing, image=image, answer=answer, record=record, label=label,
                    equal=self._compare(what, answer, _answer(record)))

    def measure(self) -> None:
        """The meter's next test image."""
        test = self.dataset.test
        index = self.meter.seen % len(test)
        said = self._classified(f"test image {index}", test.images[index])
        self.meter.count(said.answer.prediction == int(test.labels[index]))

    # -- teaching ------------------------------------------------------------------------------

    def _require_rate_shift(self, rate_shift: int) -> None:
        low, high = self.spec.rate_shift_range
        if not low <= rate_shift <= high:
            raise InputError(f"rate shift: {rate_shift} is out of bounds, must be {low}..{high}")

    def set_rate_shift(self, rate_shift: int) -> None:
        """Learning rate 2**-rate_shift from now on; raises InputError where the updates cannot be made."""
        self._require_rate_shift(rate_shift)
        self._there.set_rate_shift(rate_shift)
        self.rate_shift = rate_shift

    def teach(self, label: int, *, most: int, until_known: bool,
              going_on: Callable[[int], bool] = lambda _: True) -> None:
        """Learn from what was last asked about, with a label.

        Parameters
        ----------
        label
            Class.
        most
            Repetitions, at most.
        until_known
            End as soon as the chip answers the label.
        going_on
            Is told the repetitions before each but the first; False ends the lesson.

        Raises
        ------
        InputError
            Nothing was asked about, or there is no such class.
        """
        said = self.said
        if said is None or not said.image.any():
            raise InputError("teach: draw something first")
        if not 0 <= label < self.spec.classes:
            raise InputError(f"label: {label} is out of bounds, must be 0..{self.spec.classes - 1}")
        before = _Point(_copy(self.network), list(self._draws.states))
        done = 0
        while done < most and (not done or going_on(done)):
            answer = self._there.train(said.image, label)
            self.unread = True
            expected = learn(self.network, said.image, label, rate_shift=self.rate_shift,
                             **self._draws.draw()._asdict())
            done += 1
            self._compare("learning", answer, _answer(expected.forward))
            self.said = self._classified("after learning", said.image, drawing=said.drawing, label=said.label)
            if until_known and self.said.answer.prediction == label:
                break
        self.lessons.append(Lesson(
            drawing=said.drawing, image=said.image, label=label, repetitions=done, rate_shift=self.rate_shift,
            known=self.said is not None and self.said.answer.prediction == label, before=before,
            accuracy=self.meter.accuracy))
        del self.lessons[:-_REMEMBERED]
        self.previous = before.network.weights
        self.taught += 1
        self.meter.lessons.append(self.meter.seen)
        self._ask_again()

    def _ask_again(self) -> None:
        """Whether the lessons are known still."""
        for lesson in self.lessons[:-1]:
            lesson.known = self._classified("an earlier lesson", lesson.image).answer.prediction == lesson.label

    def undo(self) -> None:
        """Take the last lesson back, random generators included; raises InputError when there is none."""
        if not self.lessons:
            raise InputError("undo: nothing was taught, or too long ago")
        self._return(self.lessons.pop().before)
        self.taught -= 1

    def reset(self) -> None:
        """Back to the model as it was loaded."""
        self.lessons.clear()
        self.taught = 0
        self._return(_Point(_copy(self.model.network), list(self.spec.random_seeds)))

    def _return(self, point: _Point) -> None:
        different, differences = self.different, self.differences
        self.network, self._draws.states = point.network, list(point.draws)
        self.load()
        self.different, self.differences = different, differences   # of a chip that has differed, it stays said
        self.previous = self.chip_weights
        self.meter.lessons.append(self.meter.seen)
        if self.said is not None:
            self.said = self._classified("after undoing", self.said.image, drawing=self.said.drawing,
                                         label=self.said.label)

    def result(self) -> Model:
        """The network as it is, as a model: what :func:`lifstream.golden.study.model_files.save_model` writes."""
        kept = {name: value for name, value in self.model.training.items() if name != "test_accuracy"}
        earlier = kept.get("taught", [])
        lessons = [{"label": lesson.label, "repetitions": lesson.repetitions, "rate_shift": lesson.rate_shift}
                   for lesson in self.lessons]
        weights = self.chip_weights if not self.unread else self.network.weights
        state: dict[str, Any] = {**self.network.state, "weights": weights}
        return Model(network=Network(spec=self.spec, **state), preset=self.model.preset, dataset=self.model.dataset,
                     training={**kept, "taught": [*(earlier if isinstance(earlier, list) else []), *lessons]})
