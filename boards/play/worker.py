"""The thread that owns a session: it does what the page asks for, and what it does when nobody asks."""

from __future__ import annotations

import enum
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifstream.boards.host import LinkError
from lifstream.boards.play.session import Chip, Session
from lifstream.boards.play.views import answer_view, lessons_view, meter_view, model_view, weights_view
from lifstream.golden.contract.errors import InputError
from lifstream.golden.study.model_files import save_model

__all__ = ["REPETITIONS_MAX", "Busy", "Connect", "Phase", "Worker"]

REPETITIONS_MAX = 100
"""Repetitions after which a lesson ends, known or not."""

_WAITING_MAX = 8
_UNSEEN_SECONDS = 20.0
"""Without a page that asks for that long the meter rests."""
_MEASURED_PER_SECOND = 25.0
_TOLD_PER_SECOND = 5.0

Report = Callable[[str], None]
Connect = Callable[[Report], AbstractContextManager[Chip]]


class Phase(enum.StrEnum):
    """What the chip is for the page."""

    STARTING = "starting"
    READY = "ready"
    LOST = "lost"
    """It does not answer: what is asked for is refused but loading it again, and saving."""
    ENDED = "ended"


class Busy(Exception):
    """More was asked for than is done."""


@dataclass(frozen=True)
class _Job:
    name: str
    do: Callable[[], None]
    while_lost: bool = False
    asked: bool = True
    """It makes what was said before stale."""


class Worker:
    """Runs a session in a thread of its own; the other methods may be called from any.

    Parameters
    ----------
    session
        Is used by the thread alone from :meth:`start` on.
    connect
        Makes the chip; told a function that says what is under way.
    name
        The model's, for people.
    engine
        What the chip is, for people.
    chip
        Whether there is one, and not the golden model alone.
    out
        Model file that :meth:`save` writes.
    ended
        Called when the thread ends by itself.
    clock
        Seconds.
    """

    def __init__(self, *, session: Session, connect: Connect, name: str, engine: str, chip: bool, out: Path,
                 ended: Callable[[], None] = lambda: None, clock: Callable[[], float] = time.monotonic) -> None:
        self._session, self._connect, self._out, self._ended, self._clock = session, connect, out, ended, clock
        self._waiting: deque[_Job] = deque()
        self._change = threading.Condition()
        self._ending, self._lesson_ends = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="play")
        self.failure: BaseException | None = None
        """What ended the thread, if it was not :meth:`stop`."""
        self._phase, self._doing, self._notice = Phase.STARTING, "starting", ""
        self.unsaved = False
        """What was taught is in no file."""
        self._measuring = True
        self._looked, self._measured, self._told = clock(), 0.0, 0.0
        self._saved = session.network.digest()
        self._file = ""
        self._numbers = {"answer": 0, "weights": 0, "lessons": 0}
        self._views: dict[str, dict[str, Any]] = {"answer": {}, "weights": {}, "lessons": {}}
        self._fixed = {"model": model_view(session, name=name), "engine": engine, "chip": chip, "out": str(out)}
        self._state: dict[str, Any] = {}
        self._tell()

    # -- for other threads -----------------------------------------------------------------------

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for that."""
        self._ending.set()
        self._lesson_ends.set()
        with self._change:
            self._change.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def state(self) -> dict[str, Any]:
        """What the page shows; ``revision`` grows with each change. Not to be changed."""
        return self._state

    def looked(self) -> None:
        """A page has asked."""
        self._looked = self._clock()
        with self._change:
            self._change.notify_all()

    def view(self, name: str) -> dict[str, Any]:
        """The last ``answer``, ``weights`` or ``lessons``, with its number; not to be changed."""
        return self._views[name]

    def _post(self, name: str, do: Callable[[], None], *, while_lost: bool = False, asked: bool = True) -> None:
        with self._change:
            if name == "classify" and self._waiting and self._waiting[-1].name == name:
                self._waiting.pop()     # only the latest stroke counts
            if len(self._waiting) >= _WAITING_MAX or self._ending.is_set():
                raise Busy("the chip is busy; try again")
            self._waiting.append(_Job(name, do, while_lost, asked))
            self._change.notify_all()

    def ask(self, drawing: NDArray[np.uint8]) -> None:
        """Classify a drawing, uint8 (n, n)."""
        self._post("classify", lambda: self._session.ask(drawing))

    def ask_test_image(self) -> None:
        """Classify the next test image."""
        self._post("classify", self._session.ask_test_image)

    def teach(self, label: int, *, until_known: bool) -> None:
        """Learn from what was classified last: once, or until it is known."""
        def do() -> None:
            self._lesson_ends.clear()
            most = REPETITIONS_MAX if until_known else 1
            self._session.teach(label, most=most, until_known=until_known, going_on=going_on)
            lesson = self._session.lessons[-1]
            times = "once" if lesson.repetitions == 1 else f"{lesson.repetitions} times"
            self._notice = f"Taught {times}: the chip answers {label} now." if lesson.known else \
                f"Taught {times}: the chip does not answer {label} yet."

        def going_on(done: int) -> bool:
            self._doing = f"teaching {label}: {done} repetitions"
            self._show_answer()
            self._tell()
            return not self._lesson_ends.is_set()

        self._post(f"teaching {label}", do)

    def end_lesson(self) -> None:
        """Let the lesson under way be the last repetition's."""
        self._lesson_ends.set()

    def undo(self) -> None:
        """Take the last lesson back."""
        self._post("taking the last lesson back", self._session.undo)

    def reset(self) -> None:
        """Back to the model as it was loaded."""
        self._post("going back to the model as loaded", self._session.reset)

    def load(self) -> None:
        """Load the chip again with what the golden model holds."""
        self._post("loading the chip", self._session.load, while_lost=True)

    def set_rate_shift(self, rate_shift: int) -> None:
        """Learning rate 2**-rate_shift."""
        self._post("setting the learning rate", lambda: self._session.set_rate_shift(rate_shift))

    def measure(self, wanted: bool) -> None:
        """Let the meter run, or rest."""
        def do() -> None:
            self._measuring = wanted

        self._post("meter", do, while_lost=True, asked=False)

    def save(self) -> None:
        """Write the model file."""
        def do() -> None:
            if self._session.unread and self._phase is Phase.READY:
                self._session.read_back()
            model = self._session.result()
            save_model(self._out, model)
            self._saved, self._file = self._session.network.digest(), str(self._out)
            self.unsaved = False
            self._notice = f"Wrote {self._out} (digest {model.network.digest()})"

        self._post("saving", do, while_lost=True)

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with self._connect(self._report) as chip:
                self._report(f"loading {self._session.spec.parameters:,} weights into the chip")
                self._session.connect(chip)
                self._phase, self._doing = Phase.READY, ""
                self._show_weights()
                self._tell()
                while not self._ending.is_set():
                    self._step()
        except BaseException as error:
            self.failure = error
        finally:
            self._phase = Phase.ENDED
            self._tell()
            if not self._ending.is_set():
                self._ended()

    def _report(self, doing: str) -> None:
        if self._ending.is_set():
            raise InputError("play: ended before the chip was there")
        if doing != self._doing:
            self._doing = doing
            self._tell()

    def _step(self) -> None:
        """A job, or what there is to do without."""
        session = self._session
        with self._change:
            job = self._waiting.popleft() if self._waiting else None
        if job is not None:
            self._guarded(job)
        elif session.unread and self._phase is Phase.READY:
            self._guarded(_Job("reading the chip's weights back", session.read_back, asked=False))
        elif pause := self._pause():
            with self._change:
                if not self._waiting and not self._ending.is_set():
                    self._change.wait(pause)
        else:
            self._measured = self._clock()
            self._guarded(_Job("", session.measure, asked=False))

    def _pause(self) -> float:
        """Seconds until the meter's next image is due."""
        now = self._clock()
        if not self._measuring or self._phase is not Phase.READY or now - self._looked > _UNSEEN_SECONDS:
            return 1.0
        return max(0.0, self._measured + 1 / _MEASURED_PER_SECOND - now)

    def _guarded(self, job: _Job) -> None:
        """Do a job, and tell what came of it."""
        if self._phase is Phase.LOST and not job.while_lost:
            return
        session = self._session
        said, weights, key = session.said, session.chip_weights, self._key()
        if job.name:
            self._notice = "" if job.asked else self._notice
            self._doing = "" if job.name in ("classify", "meter") else job.name
            if self._doing:
                self._tell()
        try:
            job.do()
            if job.name == "loading the chip":
                self._phase = Phase.READY
        except LinkError as error:
            self._phase, self._notice = Phase.LOST, str(error)
        except InputError as error:
            self._notice = str(error)
        self._doing = ""
        if session.said is not said:
            self._show_answer()
        if session.chip_weights is not weights or self._key() != key:
            self.unsaved = session.network.digest() != self._saved
            self._show_weights()
        if job.name or self._clock() - self._told > 1 / _TOLD_PER_SECOND:
            self._tell()

    def _key(self) -> tuple[bool, int, int]:
        """What else changes with the weights."""
        return self._session.unread, self._session.different, self._session.taught

    # -- what the page is told ---------------------------------------------------------------------

    def _show_answer(self) -> None:
        if self._session.said is not None:
            self._numbers["answer"] += 1
            self._views["answer"] = {"number": self._numbers["answer"], **answer_view(self._session.said)}

    def _show_weights(self) -> None:
        for name, view in (("weights", weights_view), ("lessons", lessons_view)):
            self._numbers[name] += 1
            self._views[name] = {"number": self._numbers[name], **view(self._session)}

    def _tell(self) -> None:
        session = self._session
        self._told = self._clock()
        self._state = {
            **self._fixed, "revision": self._state.get("revision", 0) + 1, "phase": self._phase, "doing": self._doing,
            "notice": self._notice, "numbers": dict(self._numbers), "rate_shift": session.rate_shift,
            "compared": session.compared, "different": session.different, "differences": session.differences[:],
            "meter": {"running": self._measuring, **meter_view(session)},
            "taught": session.taught, "unread": session.unread, "saved": self._file, "unsaved": self.unsaved,
        }
