"""The page to draw to a chip and to teach it: drawings, what is refused, sessions, and all of it in a browser."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifstream.boards.host import Answer, Board, LinkError
from lifstream.boards.play.drawing import Framing, resampled
from lifstream.boards.play.server import BODY_MAX, CONNECTIONS_MAX, Server, parse_body, parse_drawing
from lifstream.boards.play.session import GoldenChip, Meter, Session
from lifstream.boards.play.worker import Worker
from lifstream.boards.simulated import simulated_core
from lifstream.cli import main
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import changed
from lifstream.golden.model.network import Network
from lifstream.golden.study.datasets import Dataset, Split, load_dataset
from lifstream.golden.study.model_files import Model, find_model, load_model, save_model
from lifstream.golden.study.presets import preset_by_name, preset_in_words
from lifstream.hdl.geometry import Geometry
from lifstream.sim.harness import write_pin_harness
from lifstream.sim.runner import build
from tests.boards.browser import TRIANGLE, chromium, draw, opened, playing, taught
from tests.boards.soft import Accident, SoftBoard, UnluckyPort
from tests.boards.test_host import children
from tests.conftest import error_lines

SIDE = 112


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(find_model("digits"))


def triangle(side: int = SIDE) -> np.ndarray:
    """A drawn triangle, uint8 (side, side)."""
    down, right = np.mgrid[0:side, 0:side] / side
    bottom = (abs(down - 0.8) < 0.06) & (abs(right - 0.5) < 0.36)
    flanks = (abs(abs(right - 0.5) - (down - 0.15) * 0.5) < 0.06) & (down > 0.12) & (down < 0.82)
    return ((bottom | flanks) * 255).astype(np.uint8)


def blown_up(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.kron(image.reshape(height, width), np.ones((10, 10), dtype=np.uint8))


# -- drawings -------------------------------------------------------------------------------------


def test_how_images_are_framed_is_learnt_from_them(digits: Dataset) -> None:
    """Like MNIST, the longer side is 20 of 28 pixels and the mass in the middle; the UCI digits fill all rows."""
    assert Framing.of(digits.train, height=8, width=8) == Framing(height=8, width=8, side=8, by_mass=False)
    images = np.zeros((4, 28, 28), dtype=np.uint8)
    for number, image in enumerate(images):    # an L, whose mass is not in the middle of its box
        image[2:22, 10 - number:12 - number] = 255
        image[20:22, 10 - number:20 - number] = 255
    centred = np.stack([Framing(height=28, width=28, side=20, by_mass=True).image(image) for image in images])
    found = Framing.of(Split(images=centred, labels=np.zeros(4, dtype=np.uint8)), height=28, width=28)
    assert found.by_mass
    assert abs(found.side - 20) <= 1


def test_a_data_sets_own_images_come_out_as_they_were(digits: Dataset) -> None:
    framing = Framing.of(digits.train, height=8, width=8)
    apart = [np.abs(framing.image(blown_up(image, 8, 8)).astype(int) - image).mean() for image in
             digits.test.images[:100]]
    assert np.mean(apart) < 16
    assert np.abs(digits.test.images[1:101].astype(int) - digits.test.images[:100]).mean() > 60


@pytest.mark.parametrize("by_mass", [False, True])
def test_place_and_size_do_not_matter(by_mass: bool) -> None:
    framing = Framing(height=28, width=28, side=20, by_mass=by_mass)
    small = np.zeros((SIDE, SIDE), dtype=np.uint8)
    small[40:96, 3:59] = triangle(56)
    assert np.abs(framing.image(small).astype(int) - framing.image(triangle())).mean() < 6
    assert np.abs(framing.image(small[::-1]).astype(int) - framing.image(triangle())).mean() > 40


def test_pixels_are_means_of_what_they_cover() -> None:
    image = np.array([[0.0, 4.0], [8.0, 12.0]])
    assert resampled(image, height=1, width=1, start=(0, 0), scale=2.0) == [[6.0]]
    assert resampled(image, height=1, width=2, start=(-1, 0), scale=2.0).tolist() == [[1.0, 0.0]]
    assert resampled(image, height=2, width=2, start=(0.5, 0.5), scale=0.5).tolist() == [[0, 4], [8, 12]]


def test_nothing_and_next_to_nothing() -> None:
    framing = Framing(height=28, width=28, side=20, by_mass=True)
    assert not framing.image(np.zeros((SIDE, SIDE), dtype=np.uint8)).any()
    dot = np.zeros((SIDE, SIDE), dtype=np.uint8)
    dot[50:64, 50:64] = 255
    shown = framing.image(dot).reshape(28, 28)
    assert shown.max() == 255
    assert (shown > 128).any(axis=0).sum() <= 10    # half of the side: a dot stays one
    assert not Framing.of(Split(images=np.zeros((2, 64), dtype=np.uint8), labels=np.zeros(2, dtype=np.uint8)),
                          height=8, width=8).by_mass


# -- what is refused ------------------------------------------------------------------------------


def encoded(count: int) -> str:
    return base64.b64encode(bytes(count)).decode()


@pytest.mark.parametrize(("body", "naming"), [
    (b"\xff\xfe", "no JSON"), (b"{", "no JSON"), (b"[" * 100_000, "no JSON"), (b"[]", "no JSON object"),
    (b"null", "no JSON object"), (b'{"label": 1}', "other fields"),
    (b'{"label": 1, "until_known": true, "more": 1}', "other fields"),
    (b'{"label": NaN, "until_known": true}', "label: is no int"),
    (b'{"label": 1.0, "until_known": true}', "label: is no int"),
    (b'{"label": true, "until_known": true}', "label: is no int"),
    (b'{"label": 1, "until_known": 1}', "until_known: is no bool"),
    (b'{"label": ' + b"9" * 10_000 + b', "until_known": true}', "no JSON")])
def test_bodies_that_are_refused(body: bytes, naming: str) -> None:
    with pytest.raises(InputError, match=naming):
        parse_body(body, {"label": int, "until_known": bool})


@pytest.mark.parametrize(("size", "pixels", "naming"), [
    (0, "", "size: 0"), (-1, encoded(1), "size: -1"), (257, encoded(257 * 257), "size: 257"), (10**30, "", "size"),
    (28, encoded(783), "783 bytes, expected 784"), (28, encoded(785), "785 bytes"), (28, "", "0 bytes"),
    (28, "*" * 1048, "no base64"), (28, "\u00e9" * 1048, "no base64"), (28, encoded(784)[:-1], "no base64")])
def test_drawings_that_are_refused(size: int, pixels: str, naming: str) -> None:
    with pytest.raises(InputError, match=naming):
        parse_drawing({"size": size, "pixels": pixels})


def test_a_drawing() -> None:
    drawing = triangle()
    found = parse_drawing({"size": SIDE, "pixels": base64.b64encode(drawing.tobytes()).decode()})
    assert (found == drawing).all()


class Client:
    """Speaks to a server as a browser would, or not quite."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def ask(self, method: str, name: str, body: bytes | dict[str, Any] | None = None, *, token: str | None = None,
            **headers: str) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120)
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        if method == "POST":
            headers = {"Content-Type": "application/json", **headers}
        headers = {name.replace("_", "-"): value for name, value in headers.items() if value}
        connection.request(method, f"/{self.server.token if token is None else token}/{name}", content, headers)
        response = connection.getresponse()
        text = response.read()
        found = dict(response.getheaders())
        connection.close()
        return response.status, json.loads(text) if text[:1] == b"{" else text, found

    def state(self) -> dict[str, Any]:
        return self.ask("GET", "state")[1]

    def until(self, reached: Any) -> dict[str, Any]:
        """The state, as soon as it is such."""
        for _ in range(6_000):
            state = self.state()
            if reached(state):
                return state
            time.sleep(0.02)
        raise AssertionError(state)

    def does(self, name: str, **body: Any) -> dict[str, Any]:
        """Ask for something, and wait until it is done."""
        status, found, _ = self.ask("POST", name, body)
        assert status == 202, found
        # The state is told before a job is begun and after it; another one that changes nothing ends behind it.
        revision = self.state()["revision"]
        self.ask("POST", "meter", {"running": False})
        return self.until(lambda state: state["revision"] > revision and not state["doing"] and not state["unread"]
                          and not state["meter"]["running"])

    def draw(self, drawing: np.ndarray) -> dict[str, Any]:
        self.does("draw", size=len(drawing), pixels=base64.b64encode(drawing.tobytes()).decode())
        return self.ask("GET", "answer")[1]


@contextmanager
def serving(model: Model, dataset: Dataset, out: Path, *, chip: AbstractContextManager[Any] | None = None,
            rate_shift: int | None = None) -> Iterator[Client]:
    """A server, and a client whose meter rests."""
    session = Session(model=model, dataset=dataset, rate_shift=rate_shift)
    worker = Worker(session=session, name="digits", engine="test", chip=chip is not None, out=out,
                    connect=lambda _: chip or nullcontext(GoldenChip(model.network.spec)))
    server = Server(worker)
    worker.measure(False)
    worker.start()
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        client = Client(server)
        client.until(lambda state: state["phase"] != "starting" and not state["meter"]["running"])
        yield client
    finally:
        server.stop()
        thread.join()
        server.close()
        worker.stop()
    assert worker.failure is None


@pytest.fixture
def client(model: Model, digits: Dataset, tmp_path: Path) -> Iterator[Client]:
    with serving(model, digits, tmp_path / "out.npz") as client:
        yield client


def test_only_the_page_is_let_in(client: Client) -> None:
    port, right = client.server.port, client.server.token
    assert client.ask("GET", "")[0] == 200
    assert client.ask("GET", "", Host=f"localhost:{port}", Origin=f"http://localhost:{port}")[0] == 200
    for token in ("", "x", right[:-1], right + "x", right.swapcase(), "%00", "..", f"x/{right}"):
        for name in ("", "state", "play.js", "teach", "nothing"):
            status, found, _ = client.ask("GET", name, token=token)
            assert (status, "token" in found["error"]) == (403, True), (token, name)
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", f"127.0.0.1.x:{port}"):
        assert client.ask("GET", "state", Host=host)[0] == 403, host
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"):
        assert client.ask("POST", "undo", {}, Origin=origin)[0] == 403, origin
    assert client.ask("GET", "state", Sec_Fetch_Site="cross-site")[0] == 403
    assert client.ask("POST", "undo", {}, Content_Type="text/plain")[0] == 415
    assert client.ask("GET", "undo")[0] == 405
    assert client.ask("POST", "state", {})[0] == 405
    assert client.ask("GET", "play.py")[0] == 404
    assert client.state()["compared"] == 0


def test_the_page_may_ask_nobody_else(client: Client) -> None:
    for name in ("", "play.css", "play.js", "state", "nothing"):
        headers = client.ask("GET", name)[2]
        if name != "nothing":
            assert "default-src 'none'" in headers["content-security-policy"]
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_bad_requests_change_nothing(client: Client) -> None:
    for name, body, status in (
            ("draw", b"{}", 400), ("draw", {"size": 28, "pixels": "x"}, 400), ("teach", b"", 400),
            ("teach", {"label": 10, "until_known": True}, 400), ("teach", {"label": -1, "until_known": True}, 400),
            ("teach", {"label": 1e9, "until_known": True}, 400), ("rate", {"rate_shift": 99}, 400),
            ("undo", {"x": 1}, 400), ("draw", bytes(BODY_MAX + 1), 413), ("draw", b"[" * BODY_MAX, 400)):
        found, answer, _ = client.ask("POST", name, body)
        assert (found, list(answer)) == (status, ["error"]), name
    assert client.ask("GET", "state?known=x")[0] == 400
    state = client.state()
    assert (state["compared"], state["taught"], state["different"]) == (0, 0, 0)
    assert client.does("teach", label=3, until_known=False)["notice"] == "teach: draw something first"
    assert client.does("undo")["notice"].startswith("undo: nothing")


def test_a_body_without_end_is_cut_off(client: Client) -> None:
    server = client.server
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as line:
        line.sendall(f"POST /{server.token}/draw HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
                     "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(BODY_MAX // 4096 + 1):
            line.sendall(b"1000\r\n" + bytes(4096) + b"\r\n")
        assert line.recv(100).startswith(b"HTTP/1.1 413")


def test_connections_are_counted(client: Client) -> None:
    held = [socket.create_connection(("127.0.0.1", client.server.port)) for _ in range(CONNECTIONS_MAX + 4)]
    for line in held:   # all are there
        line.sendall(b"GET ")
    statuses = set()
    for _ in range(50):
        statuses.add(client.ask("GET", "state")[0])
        if statuses == {503}:
            break
        time.sleep(0.05)
    assert 503 in statuses
    for line in held:
        line.close()
    for _ in range(500):
        if client.ask("GET", "play.css")[0] == 200:
            return
        time.sleep(0.02)
    raise AssertionError


def test_more_than_can_be_done_is_refused(model: Model, digits: Dataset, tmp_path: Path) -> None:
    worker = Worker(session=Session(model=model, dataset=digits), name="digits", engine="test", chip=False,
                    connect=lambda _: nullcontext(GoldenChip(model.network.spec)), out=tmp_path / "out.npz")
    server = Server(worker)     # the worker is not started: nothing is done
    thread = threading.Thread(target=server.run)
    thread.start()
    client = Client(server)
    statuses = [client.ask("POST", "undo", {})[0] for _ in range(9)]
    assert statuses == [202] * 8 + [409]
    server.stop()
    thread.join()
    server.close()


def test_a_taken_port_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(InputError, match=r"port \d+: cannot be served"):
            Server(None, port=other.getsockname()[1])  # type: ignore[arg-type]


# -- sessions -------------------------------------------------------------------------------------


def test_a_symbol_is_taught_saved_and_still_known(client: Client, model: Model, digits: Dataset, tmp_path: Path
                                                  ) -> None:
    answer = client.draw(triangle())
    label = (answer["prediction"] + 5) % 10
    before = client.ask("GET", "weights")[1]
    state = client.does("teach", label=label, until_known=True)
    answer = client.ask("GET", "answer")[1]
    assert answer["prediction"] == label
    assert (state["taught"], state["different"], state["unsaved"]) == (1, 0, True)
    [lesson] = client.ask("GET", "lessons")[1]["lessons"]
    assert (lesson["label"], lesson["known"]) == (label, True)
    assert 1 <= lesson["repetitions"] < 100
    weights = client.ask("GET", "weights")[1]
    assert weights["image"] != before["image"]
    assert weights["lesson"] == weights["loaded"]
    assert sum(weights["lesson"]["changed"]) > 0
    # What somebody sees who opens the page anew.
    assert Client(client.server).ask("GET", "answer")[1] == answer
    state = client.does("save")
    assert not state["unsaved"]
    saved = load_model(tmp_path / "out.npz")
    assert saved.network.digest() != model.network.digest()
    assert saved.training["taught"] == [{"label": label, "repetitions": lesson["repetitions"],
                                         "rate_shift": lesson["rate_shift"]}]
    assert "test_accuracy" not in saved.training
    with serving(saved, digits, tmp_path / "again.npz") as later:
        assert later.draw(triangle())["prediction"] == label
    state = client.does("undo")
    assert (state["taught"], client.ask("GET", "lessons")[1]["lessons"]) == (0, [])
    weights = client.ask("GET", "weights")[1]
    assert weights["image"] == before["image"]
    assert sum(weights["loaded"]["changed"]) == 0
    assert client.ask("GET", "answer")[1]["prediction"] != label


def test_what_was_saved_is_evaluated(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    client.draw(triangle())
    client.does("teach", label=1, until_known=False)
    client.does("save")
    monkeypatch.setattr(sys, "argv", ["lifstream", "eval", str(tmp_path / "out.npz"), "--json", "--engine", "numpy"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out)["digest"] == load_model(tmp_path / "out.npz").network.digest()


def test_lessons_are_asked_again_and_all_undone(client: Client) -> None:
    client.does("rate", rate_shift=10)
    client.draw(triangle())
    client.does("teach", label=2, until_known=True)
    client.draw(triangle()[::-1].copy())
    client.does("teach", label=3, until_known=True)
    client.draw(triangle())
    client.does("teach", label=8, until_known=True)
    lessons = client.ask("GET", "lessons")[1]["lessons"]
    assert [(lesson["label"], lesson["known"]) for lesson in lessons][::2] == [(2, False), (8, True)]
    state = client.does("reset")
    assert (state["taught"], state["unsaved"], state["different"]) == (0, False, 0)
    assert client.ask("GET", "lessons")[1]["lessons"] == []


def test_random_generators_are_undone_too(digits: Dataset) -> None:
    """With dropout the same lesson is another one, unless the generators are where they were."""
    spec = changed(preset_by_name("digits").spec, dropout=64)
    session = Session(dataset=digits, model=Model(network=Network.initial(spec=spec, seed=3), preset="digits",
                                                  dataset="digits"))
    session.connect(GoldenChip(spec))
    session.ask(triangle())
    digests = []
    for _ in range(2):
        session.teach(4, most=5, until_known=False)
        digests.append(session.network.digest())
        session.read_back()
        session.undo()
    session.teach(4, most=2, until_known=False)
    session.teach(4, most=3, until_known=False)
    digests.append(session.network.digest())
    assert len(set(digests)) == 1
    assert session.different == 0


def soft_chip(model: Model, **options: Any) -> tuple[SoftBoard, Board]:
    soft = SoftBoard(model.network, **options)
    return soft, Board(port=soft, spec=model.network.spec, clock=soft.clock)


def test_a_board_over_its_link(model: Model, digits: Dataset) -> None:
    """Frames, sequence numbers and all, with a byte in two thousand spoilt."""
    session = Session(model=model, dataset=digits)
    session.connect(soft_chip(model, fault=0.0005)[1])
    session.ask(triangle())
    session.teach(6, most=20, until_known=True)
    session.read_back()
    session.measure()
    assert session.said is not None
    assert session.said.answer.prediction == 6
    assert (session.different, session.unread) == (0, False)
    assert session.compared > 3


def test_a_wrong_weight_in_the_chip_is_seen(model: Model, digits: Dataset, tmp_path: Path) -> None:
    """A planted fault: a weight of the chip changes by itself."""
    soft, board = soft_chip(model)
    with serving(model, digits, tmp_path / "out.npz", chip=nullcontext(board)) as client:
        client.draw(triangle())
        assert client.state()["different"] == 0
        soft.network.weights[0][20, 3] += 1
        state = client.does("teach", label=5, until_known=False)
        assert state["different"] >= 1
        assert any("weights of layer 0: " in text and "in the chip are not" in text for text in state["differences"])
        assert client.ask("GET", "weights")[1]["differ"]
        state = client.does("undo")     # that does not make it a chip to trust
        assert state["different"] >= 1
        state = client.does("load")
        assert state["different"] == 0
        assert not client.ask("GET", "weights")[1]["differ"]


class Miscounting(GoldenChip):
    """A planted fault: one spike too many of the last neuron."""

    def infer(self, image: np.ndarray) -> Answer:
        answer = super().infer(image)
        return answer._replace(responses=answer.responses + (np.arange(10) == 9))


def test_a_wrong_answer_of_the_chip_is_seen(model: Model, digits: Dataset, tmp_path: Path) -> None:
    with serving(model, digits, tmp_path / "out.npz", chip=nullcontext(Miscounting(model.network.spec))) as client:
        answer = client.draw(triangle())
        assert not answer["equal"]
        state = client.state()
        assert state["different"] == 1
        assert state["differences"][0].startswith("a drawing: the chip answered ")


def test_a_lost_board_is_loaded_again(model: Model, digits: Dataset, tmp_path: Path) -> None:
    soft = SoftBoard(model.network)
    port = UnluckyPort(soft)
    board = Board(port=port, spec=model.network.spec, clock=soft.clock)
    with serving(model, digits, tmp_path / "out.npz", chip=nullcontext(board)) as client:
        client.draw(triangle())
        client.does("teach", label=5, until_known=False)
        port.plan(Accident.DEAD, at=0)
        client.ask("POST", "test-image", {})
        state = client.until(lambda state: state["phase"] == "lost")
        assert "never acknowledged" in state["notice"]
        client.ask("POST", "undo", {})
        client.ask("POST", "save", {})  # what was taught is not lost
        assert client.until(lambda state: state["saved"])["taught"] == 1
        port.revive()
        client.ask("POST", "load", {})
        client.until(lambda state: state["phase"] == "ready")
        assert client.draw(triangle())["equal"]
        assert client.state()["different"] == 0


def test_the_meter(model: Model, digits: Dataset) -> None:
    session = Session(model=model, dataset=digits)
    session.connect(GoldenChip(model.network.spec))
    for _ in range(len(digits.test) + 40):     # and from the first one again
        session.measure()
    right = np.concatenate(list(model.network.predict(digits.test.images))) == digits.test.labels
    assert session.meter.right == right.sum() + right[:40].sum()
    assert session.meter.accuracy == pytest.approx(np.concatenate([right[-60:], right[:40]]).mean())
    meter = Meter()
    for _ in range(5_000):
        meter.count(True)
    assert len(meter.points) <= 600
    assert meter.points[-1] == (5_000, 1.0)


def test_a_failure_before_there_is_a_chip_ends_it(model: Model, digits: Dataset, tmp_path: Path) -> None:
    ended = threading.Event()

    def connect(_: Any) -> AbstractContextManager[Any]:
        raise LinkError("there is none")

    worker = Worker(session=Session(model=model, dataset=digits), name="digits", engine="test", chip=True,
                    connect=connect, out=tmp_path / "out.npz", ended=ended.set)
    worker.start()
    assert ended.wait(60)
    worker.stop()
    assert isinstance(worker.failure, LinkError)
    assert worker.state["phase"] == "ended"


@pytest.mark.simulation
def test_an_interrupt_ends_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a build that nobody needs, and nothing is left of it."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda _: str(tmp_path))
    description = {"top": "top", "waivers": (), "ports": [{"name": "a", "direction": "in", "width": 1},
                                                          {"name": "b", "direction": "out", "width": 1}]}

    def interrupted() -> None:
        raise InputError("enough")

    with pytest.raises(InputError, match="enough"):
        build(verilog="module top(input a, output b); assign b = ~a; endmodule\n", description=description,
              harness=write_pin_harness(description), meanwhile=interrupted)
    assert not list((tmp_path / "builds").iterdir())


def stopped(*arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The one line of a command that is refused."""
    monkeypatch.setattr(sys, "argv", ["lifstream", "play", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    [line] = error_lines(capsys.readouterr().err)
    return line


def test_networks_that_cannot_be_played(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    for preset, naming in ((preset_by_name("stdp-100"), "rule is stdp, by which no label can be taught"),
                           (preset_in_words("dense 10", dataset="events-digits"), "takes events, not images")):
        network = Network.initial(spec=preset.spec, seed=1)
        save_model(tmp_path / "m.npz", Model(network=network, preset=preset.name, dataset=preset.dataset))
        assert naming in stopped(str(tmp_path / "m.npz"), capsys=capsys, monkeypatch=monkeypatch)


@pytest.mark.parametrize(("arguments", "naming"), [
    (("nothing",), "no released model"), (("digits", "--rate-shift", "99"), "rate shift: 99 is out of bounds"),
    (("digits", "--dataset", "nowhere"), "'nowhere'"), (("digits", "--lanes", "0"), "--lanes"),
    (("digits", "--port", "/dev/nowhere", "--no-open"), "cannot be opened as a serial port"),
    (("digits", "--engine", "other"), "--engine"), (("digits", "--http-port", "70000"), "--http-port"),
    (("digits", "--out", "/"), "is a folder")])
def test_refusals(arguments: tuple[str, ...], naming: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert naming in stopped(*arguments, capsys=capsys, monkeypatch=monkeypatch)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["starlette.applications", "uvicorn"])
def test_the_missing_extra_is_named(module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
                                    ) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "lifstream.boards.play.server")
    assert "pip install 'lifstream[play]'" in stopped("digits", capsys=capsys, monkeypatch=monkeypatch)


# -- with the simulated chip, in a browser ----------------------------------------------------------


@pytest.mark.regress
@pytest.mark.simulation
def test_the_simulated_core_is_the_golden_model(model: Model, digits: Dataset) -> None:
    """Reset, loaded, asked, taught, read; and when its simulator is killed, that is one line."""
    golden = GoldenChip(model.network.spec)
    golden.load(model.network)
    golden.set_rate_shift(11)

    def work() -> None:
        before = children()
        with simulated_core(spec=model.network.spec, geometry=Geometry(lanes=32)) as port, \
                Board(port=port, spec=model.network.spec, patience=600.0) as board:
            board.load(model.network)
            board.set_rate_shift(11)
            for number, image in enumerate(digits.test.images[:5]):
                assert board.infer(image).responses.tolist() == golden.infer(image).responses.tolist()
                assert board.train(image, number).responses.tolist() == golden.train(image, number).responses.tolist()
            for got, wanted in zip(board.weights(), golden.learnt_state()["weights"], strict=True):
                assert (got == wanted).all()
            assert (got != model.network.weights[-1]).any()
            assert board.counters()["images"] == 10
            simulators = children() - before
            assert len(simulators) == 1
            os.kill(simulators.pop(), signal.SIGKILL)
            board.infer(digits.test.images[0])

    with pytest.raises(LinkError, match="the simulated board ended before it was told to; start it again"):
        work()


@pytest.mark.skipif(chromium() is None, reason="no Chromium: apt-get install chromium")
def test_a_difference_is_shown_in_a_browser(model: Model, digits: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="drives the browser")
    with serving(model, digits, tmp_path / "out.npz", chip=nullcontext(Miscounting(model.network.spec))) as client, \
            opened(client.server.address) as (page, complaints):
        draw(page, TRIANGLE)
        page.locator("#alarm-title", has_text="The chip and the golden model differ").wait_for()
        page.locator("#alarm-list", has_text="a drawing: the chip answered").wait_for()
        page.locator("#check.differs").wait_for()
        page.locator("#answer.differs").wait_for()
        assert complaints == []


@pytest.mark.simulation
@pytest.mark.skipif(chromium() is None, reason="no Chromium: apt-get install chromium")
def test_in_a_browser(tmp_path: Path) -> None:
    """Draw what it does not know, teach it until it does, open the page anew, save."""
    pytest.importorskip("playwright", reason="drives the browser")
    with playing("digits", "--out", "taught.npz", folder=tmp_path) as address:
        with opened(address) as (page, complaints):
            draw(page, TRIANGLE)
            before = page.locator("#answer").inner_text()
            label = (int(before) + 4) % 10 if before.isdigit() else 4
            taught(page, label, 1)
            assert page.locator("#answer").inner_text() == str(label)
            page.locator("#notice", has_text=f"the chip answers {label} now").wait_for()
            page.locator("#weights-note", has_text="Read from the chip and equal").wait_for()
            page.locator("#check.equal").wait_for()
            assert page.locator("#alarm").is_hidden()
            page.locator("#save").click()
            page.locator("#saved", has_text="saved as taught.npz").wait_for()
            assert complaints == []
        with opened(address, width=390, height=844, dark=True) as (page, complaints):   # anew, on a telephone
            page.locator("#answer", has_text=str(label)).wait_for()
            assert page.locator("#lessons .known").count() == 1
            page.locator("#recent", has_text="%").wait_for()
            for card in page.locator(".card").all():
                box = card.bounding_box()
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= 390
            page.locator("#clear").click()
            page.locator("#answer-note", has_text="Nothing is drawn").wait_for()
            assert complaints == []
    saved = load_model(tmp_path / "taught.npz")
    assert saved.training["taught"][0]["label"] == label
    assert saved.network.digest() != load_model(find_model("digits")).network.digest()
