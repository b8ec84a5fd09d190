"""What the page is told, as plain JSON values; arrays are base64 of their bytes."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifstream.boards.play.session import WINDOW, Said, Session
from lifstream.golden.contract.formats import Phase
from lifstream.golden.study.tiles import WeightTiles, canvas, maps_of, weight_tiles
from lifstream.golden.study.words import in_words

__all__ = ["answer_view", "lessons_view", "meter_view", "model_view", "weights_view"]


def _encoded(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _bits(spikes: NDArray[np.bool_]) -> str:
    """Spikes as bits, the first one lowest."""
    return _encoded(np.packbits(spikes.ravel(), bitorder="little"))


def _drawing(drawing: NDArray[np.uint8] | None) -> dict[str, Any] | None:
    return None if drawing is None else {"size": len(drawing), "pixels": _encoded(drawing)}


def model_view(session: Session, *, name: str) -> dict[str, Any]:
    """What stays: the network's shape and constants."""
    spec, dataset = session.spec, session.dataset
    maps = maps_of(spec, height=dataset.height, width=dataset.width)
    low, high = spec.rate_shift_range
    return {
        "name": name, "summary": spec.summary, "words": in_words(spec) or spec.summary, "dataset": dataset.name,
        "parameters": spec.parameters, "weight_bits": spec.weight_widths, "steps": spec.steps,
        "classes": spec.classes, "height": dataset.height, "width": dataset.width, "pen": session.framing.pen,
        "rate_shifts": [low, min(high, low + 10)], "window": WINDOW,
        "layers": [{
            "neurons": at.n_out, "kind": at.synapses.kind,
            "threshold": int(at.neuron.threshold_in(Phase.INFERENCE)),
            "map": None if (of := maps[at.index + 1]) is None else [of.height, of.width, of.channels],
        } for at in spec.placed],
    }


def answer_view(said: Said) -> dict[str, Any]:
    """An answer of the chip, and what went on inside by the golden model."""
    record, last = said.record, said.record.layers[-1]
    return {
        "drawing": _drawing(said.drawing),
        "image": _encoded(said.image), "label": said.label, "prediction": said.answer.prediction,
        "counts": said.answer.responses.tolist(), "equal": said.equal,
        "spikes": [_bits(record.input_spikes), *(_bits(layer.spikes) for layer in record.layers)],
        "totals": record.spike_totals().tolist(), "membrane": last.membrane.tolist(),
    }


def _tiles(session: Session, weights: NDArray[np.integer]) -> WeightTiles:
    dataset = session.dataset
    before = maps_of(session.spec, height=dataset.height, width=dataset.width)[0]
    assert before is not None   # images are maps
    return weight_tiles(weights, session.spec.layers[0].synapses, before)


def weights_view(session: Session) -> dict[str, Any]:
    """The first layer's weights as an image, and what the last lesson and all lessons have changed."""
    now, loaded = session.chip_weights, session.model.network.weights
    tiles = _tiles(session, now[0])
    image = canvas(tiles.blocks)

    def change(earlier: list[NDArray[np.int32]]) -> dict[str, Any]:
        return {"image": _encoded(canvas(_tiles(session, now[0].astype(np.int64) - earlier[0]).blocks).astype("<f4")),
                "changed": [int((new != old).sum()) for new, old in zip(now, earlier, strict=True)],
                "largest": [int(np.abs(new.astype(np.int64) - old).max()) for new, old in
                            zip(now, earlier, strict=True)]}

    return {
        "rows": image.shape[0], "columns": image.shape[1], "image": _encoded(image.astype("<f4")), "name": tiles.name,
        "across": tiles.across, "down": tiles.down, "one": session.spec.layers[0].formats.one,
        "sizes": [matrix.size for matrix in now], "lesson": change(session.previous), "loaded": change(loaded),
        "read": not session.unread, "differ": session.wrong,
    }


def meter_view(session: Session) -> dict[str, Any]:
    """Accuracy over the test stream."""
    meter = session.meter
    return {"seen": meter.seen, "right": meter.right, "recent": len(meter.recent), "accuracy": meter.accuracy,
            "points": meter.points[:], "lessons": meter.lessons[:], "images": len(session.dataset.test)}


def lessons_view(session: Session) -> dict[str, Any]:
    """What was taught, the last lessons."""
    return {"lessons": [
        {"label": lesson.label, "repetitions": lesson.repetitions, "rate_shift": lesson.rate_shift,
         "known": lesson.known, "accuracy": lesson.accuracy, "image": _encoded(lesson.image),
         "drawing": _drawing(lesson.drawing)} for lesson in session.lessons]}
