"""The host driver after calls that were not completed: nothing is reported that was not done."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifstream.boards import host, tb_board
from lifstream.boards.host import Board, BoardState, LinkError, open_port
from lifstream.boards.simulated import simulated_board
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import flat_network
from lifstream.golden.model.draws import DrawGenerator
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.hdl.geometry import Geometry
from tests.boards.soft import Accident, SoftBoard, UnluckyPort
from tests.conftest import error_lines, random_images, random_network

ROOT = Path(__file__).parents[2]
SPEC = flat_network(sizes=(9, 6, 3), steps=5, desire_margin=1, dropout=40)
IMAGES = random_images(6, 9, 2)
RATE_SHIFT = 10
STATES = [0x1234567]


LATE = (Accident.AFTER, Accident.FAILING, Accident.STUCK)


def network() -> Network:
    return random_network(SPEC, 3, scale=2.5)


def equal(one: list[Any], other: list[Any]) -> bool:
    return all((a == b).all() for a, b in zip(one, other, strict=True))


class Session:
    """Calls of a driver; each answer is compared with the golden model's, each report with what the board did."""

    def __init__(self, soft: SoftBoard) -> None:
        self.soft, self.golden, self.draws = soft, network(), DrawGenerator(SPEC)
        self.known = False              # whether the golden model's weights are the board's
        self.rate_shift: int | None = None
        self.states: list[int] | None = None
        self.reported: list[bytes] = []
        self.before = 0                 # updates that the board made and nobody reported

    def steps(self) -> list[Callable[[Board], None]]:
        return [self.load, self.set_rate_shift, self.seed, self.infer(0), self.train(1), self.train(2), self.infer(3),
                self.weights, self.train(4), self.counters]

    def load(self, board: Board) -> None:
        self.known = False
        restarted = board.state is not BoardState.READY
        board.load(network())
        self.restarted(restarted)
        self.golden, self.known = network(), True

    def restarted(self, restarted: bool) -> None:
        if restarted:
            self.draws = DrawGenerator(SPEC)
            if self.states is not None:
                self.draws.states = list(self.states)

    def set_rate_shift(self, board: Board) -> None:
        board.set_rate_shift(RATE_SHIFT)
        self.rate_shift = RATE_SHIFT

    def seed(self, board: Board) -> None:
        board.seed(STATES)
        self.states, self.draws.states = STATES, list(STATES)

    def infer(self, index: int) -> Callable[[Board], None]:
        def call(board: Board) -> None:
            assert board.infer(IMAGES[index]).responses.tolist() == self.golden.classify(IMAGES[index]).counts.tolist()
        return call

    def train(self, index: int) -> Callable[[Board], None]:
        def call(board: Board) -> None:
            image, label = IMAGES[index], index % 3
            answer = board.train(image, label)
            self.reported.append(bytes([label]) + image.tobytes())
            rate_shift = min(SPEC.rate_shift_range[0] + 2, SPEC.rate_shift_range[1])
            expected = learn(self.golden, image, label, rate_shift=self.rate_shift or rate_shift,
                             **self.draws.draw()._asdict()).forward
            assert answer.responses.tolist() == expected.counts.tolist()
        return call

    def weights(self, board: Board) -> None:
        assert equal(board.weights(), self.golden.weights)
        self.settled()

    def counters(self, board: Board) -> None:
        found = board.counters()
        assert self.rate_shift in (None, found["rate_shift"])
        self.settled()

    def settled(self) -> None:
        """What the board learnt since this session knows it is what was reported."""
        assert self.soft.learned[self.before:] == self.reported

    def broken_off(self, board: Board) -> None:
        """See that the driver admits it."""
        state = board.state
        assert state in (BoardState.UNFINISHED, BoardState.IN_DOUBT)
        for call in (lambda: board.infer(IMAGES[0]), lambda: board.train(IMAGES[0], 0), board.weights, board.counters,
                     lambda: board.set_rate_shift(11), lambda: board.seed(STATES)):
            with pytest.raises(LinkError, match="call before was not completed"):
                call()
        assert board.state is state
        if state is BoardState.UNFINISHED and self.known:
            assert equal(self.soft.network.weights, self.golden.weights)
            self.settled()
        self.known = self.known and state is BoardState.UNFINISHED

    def recover(self, board: Board) -> None:
        restarted = board.state is not BoardState.READY
        board.recover()
        self.restarted(restarted)
        found = board.weights()
        if self.known:
            assert equal(found, self.golden.weights)
        self.golden = Network(spec=SPEC, weights=found)
        assert equal(found, self.soft.network.weights)
        self.known = True

    def forget(self) -> None:
        """From here on, reports are counted anew."""
        self.reported, self.before = [], len(self.soft.learned)


def connected(port: Any, soft: SoftBoard, seed: int = 1) -> Board:
    return Board(port=port, spec=SPEC, clock=soft.clock, numbers=random.Random(seed))


def play(accident: Accident, at: int, *, delay: float, recovery: str, again: int | None = None) -> tuple[bool, bool]:
    """All steps, with an accident at a call of the port and perhaps one while recovering; whether they happened."""
    soft = SoftBoard(network(), delay=delay, step=0.2)
    port = UnluckyPort(soft)
    board, session = connected(port, soft), Session(soft)
    port.plan(accident, at=at)
    try:
        for step in session.steps():
            step(board)
        return False, False
    except (LinkError, KeyboardInterrupt):
        assert port.struck
    port.revive()
    session.broken_off(board)
    mend = session.load if recovery == "load" else session.recover
    struck = False
    if again is not None:
        port.plan(accident, at=again)
        try:
            mend(board)
        except (LinkError, KeyboardInterrupt):
            struck = port.struck
            session.broken_off(board)
        port.revive()
    if not struck and again is not None:
        return True, False
    mend(board)
    session.forget()
    for step in session.steps()[3:]:
        step(board)
    return True, struck


# -- one accident, at every call of the port -------------------------------------------------------

@pytest.mark.parametrize("recovery", ["load", "recover"])
@pytest.mark.parametrize(("accident", "delay"), [
    *((accident, 0.0) for accident in Accident), *((accident, 0.7) for accident in LATE)])
def test_nothing_is_reported_that_was_not_done(accident: Accident, delay: float, recovery: str) -> None:
    """Late answers of the broken-off call (``delay`` is more than the host's patience) are nobody's either."""
    for at in count():
        if not play(accident, at, delay=delay, recovery=recovery)[0]:
            break
    assert at > 30


@pytest.mark.parametrize("accident", [Accident.AFTER, Accident.STUCK])
@pytest.mark.parametrize("recovery", ["load", "recover"])
def test_a_recovery_may_be_broken_off_too(accident: Accident, recovery: str) -> None:
    for at in (30, 45):
        for again in count():
            if not play(accident, at, delay=0.7, recovery=recovery, again=again)[1]:
                break
        assert again > 15


def test_lost_acknowledgements_then_another_image() -> None:
    """The next image's frame has the number of the one that failed."""
    soft = SoftBoard(network())
    port = UnluckyPort(soft)
    board = connected(port, soft)
    port.plan(Accident.STUCK, at=1)     # the image arrives, its acknowledgements do not
    with pytest.raises(LinkError, match="never acknowledged"):
        board.train(IMAGES[0], 0)
    port.revive()
    with pytest.raises(LinkError, match="not completed, the network may be changed in part"):
        board.train(IMAGES[1], 1)
    board.load(network())
    soft.learned.clear()
    board.train(IMAGES[1], 1)
    board.weights()
    assert [payload[0] for payload in soft.learned] == [1]


def test_an_update_may_be_cut_off_after_its_answer() -> None:
    """The image is answered before its weights are written: what is broken off next leaves that open too."""
    soft = SoftBoard(network())
    port = UnluckyPort(soft)
    board = connected(port, soft)
    for calls, state in ((0, BoardState.UNFINISHED), (1, BoardState.IN_DOUBT)):
        for index in range(calls):
            board.train(IMAGES[index], 0)
        port.plan(Accident.BEFORE, at=0)
        with pytest.raises(KeyboardInterrupt):
            board.infer(IMAGES[0])
        assert board.state is state
        board.recover()
        assert board.state is BoardState.READY
    assert soft.torn == 1


def test_closing_waits_for_the_last_update() -> None:
    soft = SoftBoard(network())
    with connected(soft, soft) as board:
        board.train(IMAGES[0], 0)
    assert len(soft.learned) == 1
    connected(soft, soft)
    assert soft.torn == 0
    assert board.state is BoardState.CLOSED
    for call in (lambda: board.infer(IMAGES[0]), board.recover, lambda: board.load(network())):
        with pytest.raises(LinkError, match="board: is closed; connect again"):
            call()


def test_an_error_is_not_hidden_by_closing() -> None:
    soft = SoftBoard(network())
    port = UnluckyPort(soft)

    def work() -> None:
        with connected(port, soft) as board:
            board.train(IMAGES[0], 0)
            port.plan(Accident.DEAD, at=0)
            raise KeyError("the caller's own")

    with pytest.raises(KeyError):
        work()
    assert port.struck


def test_bad_arguments_leave_no_doubt() -> None:
    soft = SoftBoard(network())
    with connected(soft, soft) as board:
        for call in (lambda: board.infer(np.zeros(8, np.uint8)), lambda: board.train(IMAGES[0], 3),
                     lambda: board.seed([]), lambda: board.seed([0])):
            with pytest.raises(InputError, match=r"image: uint8|label: 3|seeds: "):
                call()
        assert board.state is BoardState.READY
        board.recover()     # nothing to recover from, and nothing reset
        board.set_rate_shift(RATE_SHIFT)
        board.recover()
        assert board.counters()["rate_shift"] == RATE_SHIFT


# -- many accidents ----------------------------------------------------------------------------------

def storm(seed: int) -> None:
    """Call after call over a line that is slower than the driver is patient, an accident every few calls of the port.

    Now and then another driver connects, as after a killed process; nobody empties the line before.
    """
    draw = random.Random(seed)
    soft = SoftBoard(network(), delay=1.6, step=0.2)
    port, session = UnluckyPort(soft), Session(soft)
    board: Board | None = None
    for _ in range(60):
        port.plan(draw.choice(list(Accident)), at=draw.randrange(120))
        try:
            if board is None or draw.random() < 0.1:
                board, session = None, Session(soft)
                session.rate_shift = session.states = None
                board = connected(port, soft, draw.randrange(1 << 32))
                session.load(board)
                session.forget()
            elif board.state is not BoardState.READY:
                draw.choice([session.load, session.recover])(board)
                session.forget()
            else:
                draw.choice(session.steps()[1:])(board)
        except (LinkError, KeyboardInterrupt):
            port.revive()
            if board is not None:
                session.broken_off(board)
        port.revive()


@pytest.mark.parametrize("seed", range(8))
def test_a_storm_of_accidents(seed: int) -> None:
    storm(seed)


# -- what the numbers of resets are for ------------------------------------------------------------

class Lowest(random.Random):
    """Draws the lowest numbers."""

    def sample(self, population: Any, k: int, *, counts: Any = None) -> list[Any]:
        return list(population)[:k]


def wrong_answers(numbers: Callable[[int], random.Random]) -> tuple[int, int]:
    """Right and wrong answers that the last of three drivers takes, the two before having been interrupted anywhere.

    The line is slower than they are patient, so that answers to the first are there when the second starts, and so on.
    """
    right = wrong = 0
    expected = network().classify(IMAGES[1]).counts.tolist()
    for first in range(6, 20, 2):
        for second in range(40):
            soft = SoftBoard(network(), delay=1.6, step=0.2)
            port = UnluckyPort(soft)
            for driver, at in enumerate((first, second)):
                port.plan(Accident.AFTER, at=at)
                with suppress(KeyboardInterrupt):
                    Board(port=port, spec=SPEC, clock=soft.clock, numbers=numbers(driver)).infer(IMAGES[0])
            port.revive()
            found = Board(port=port, spec=SPEC, clock=soft.clock, numbers=numbers(2)).infer(IMAGES[1])
            equal = found.responses.tolist() == expected
            right, wrong = right + equal, wrong + (not equal)
    return right, wrong


def test_answers_to_drivers_before_are_never_taken() -> None:
    right, wrong = wrong_answers(random.Random)
    assert wrong == 0
    assert right == 280
    assert wrong_answers(Lowest) == (280, 0)    # the numbers of all drivers are equal, but each reset's is another


def test_resets_without_numbers_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_RESETS", 1)
    assert wrong_answers(Lowest)[1] > 0


# -- a port that goes away ---------------------------------------------------------------------------

@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """A pseudo-terminal: its driver's end, and the name of the other."""
    master, slave = os.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    os.close(slave)
    yield master, name
    with suppress(OSError):
        os.close(master)


def unplug_when_asked(master: int) -> threading.Thread:
    def wait() -> None:
        while True:
            with suppress(OSError):     # nobody has opened the other end yet
                os.read(master, 100)
                os.close(master)
                return
            time.sleep(0.02)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_an_unplugged_board_is_an_error_of_one_line(terminal: tuple[int, str]) -> None:
    master, name = terminal
    port = open_port(name)
    with pytest.raises(InputError, match="cannot be opened as a serial port"):
        open_port(name)     # another driver has it
    thread = unplug_when_asked(master)
    with pytest.raises(LinkError, match=r"the serial port failed \(.*\); was the board unplugged"):
        Board(port=port, spec=SPEC)
    thread.join()


@pytest.mark.parametrize("command", [("infer",), ("train",), ("weights", "--out", "w.npz")])
def test_commands_survive_an_unplugged_board(terminal: tuple[int, str], command: tuple[str, ...],
                                             tmp_path: Path) -> None:
    master, name = terminal
    thread = unplug_when_asked(master)
    done = subprocess.run([sys.executable, "-m", "lifstream", "board", "--preset", "digits", *command, "--port", name],
                          capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
                          cwd=tmp_path)
    thread.join()
    assert done.returncode == 2, done.stderr
    assert len(error_lines(done.stderr)) == 1
    assert "the serial port failed" in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_nobody_reads_is_lost() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    with suppress(BlockingIOError):
        while True:
            os.write(master, bytes(1))
    tb_board._write(master, 0x55)
    assert not any(os.read(slave, 1 << 16))
    os.close(slave)
    os.close(master)


def children() -> set[int]:
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if status.read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
                found.add(int(status.parent.name))
    return found


@pytest.mark.simulation
def test_a_killed_simulator_is_an_error_of_one_line() -> None:
    def work() -> None:
        before = children()
        with simulated_board(spec=SPEC, geometry=Geometry(lanes=6)) as name, Board(
                port=open_port(name), spec=SPEC, patience=2.0) as board:
            simulators = children() - before
            assert len(simulators) == 1
            os.kill(simulators.pop(), signal.SIGKILL)
            for image in IMAGES:
                board.infer(image)

    with pytest.raises(LinkError, match="the simulated board ended before it was told to; start it again"):
        work()


@contextmanager
def open_unlucky(name: str) -> Iterator[tuple[UnluckyPort, Board]]:
    port = UnluckyPort(open_port(name))
    with Board(port=port, spec=SPEC, patience=2.0, silence=60.0) as board:
        yield port, board


@pytest.mark.simulation
def test_a_simulated_board_recovers() -> None:
    """Interrupted anywhere, then given a network: it learns from it as the golden model does."""
    golden = network()
    with simulated_board(spec=SPEC, geometry=Geometry(lanes=6)) as name, open_unlucky(name) as (port, board):
        for at in range(0, 24, 3):
            board.load(network())
            port.plan(Accident.AFTER, at=at)
            with suppress(KeyboardInterrupt):
                board.infer(IMAGES[0])
                board.train(IMAGES[0], 0)
                board.weights()
            port.revive()
            golden, draws = network(), DrawGenerator(SPEC)
            interrupted = board.state is not BoardState.READY
            board.load(golden)
            if not interrupted:
                board.seed(draws.states)
            board.set_rate_shift(RATE_SHIFT)
            for index in range(3):
                expected = learn(golden, IMAGES[index], index, rate_shift=RATE_SHIFT, **draws.draw()._asdict()).forward
                assert board.train(IMAGES[index], index).responses.tolist() == expected.counts.tolist()
            assert equal(board.weights(), golden.weights)
