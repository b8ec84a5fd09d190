"""Bench for a whole core: real images through the Verilog, every step against the golden model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import First, Timer
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.protocol import (
    COUNTERS,
    STATE_ACCESS,
    Command,
    Status,
    reply_bytes,
    response_bytes,
    sample_command,
)
from lifstream.golden.contract.rules import Magnitude
from lifstream.golden.model.draws import DrawGenerator
from lifstream.golden.model.learning import LearnRecord, learn
from lifstream.golden.model.network import Network
from lifstream.golden.model.packets import (
    PacketError,
    Reply,
    decode_replies,
    decode_responses,
    decode_state,
    decode_status,
    encode_state,
    expect,
    packet,
    sample_packets,
)
from lifstream.golden.model.protocols import ForwardRecord, IntArray, LayerRecord
from lifstream.golden.model.readouts import assign_votes
from lifstream.golden.model.registry import rule_model
from lifstream.golden.model.rules.desire import Desire
from lifstream.golden.model.synapses import connections
from lifstream.golden.study.model_files import load_model, network_from, network_to, read_archive, write_archive
from lifstream.sim.bench import CLOCK_NS, BenchError, HarnessDriver, Words, undisturbed
from lifstream.sim.checkpoint import POINT
from lifstream.sim.faults import (
    READ_BACK,
    Fault,
    forget_inhibition,
    plant_captured,
    plant_loaded,
    plant_pixel,
    plant_state,
)
from lifstream.sim.harness import membrane_word
from lifstream.sim.places import REPLIES, array_path, membrane_path, payload_path, slice_of, weight_path
from lifstream.sim.scoreboard import (
    Captured,
    CapturedDesire,
    Divergence,
    label_mismatches,
    mismatches,
    state_mismatches,
)


@dataclass(frozen=True, kw_only=True)
class _Point:
    """Where a run can be taken up again, and what the golden model knew there."""

    played: int
    segment_index: int
    start: int
    state: dict[str, list[NDArray[Any]]]
    random_states: list[int]


class _Session:
    """One run of the bench: the design and the golden model side by side."""

    def __init__(self, dut: Any) -> None:
        self.driver = HarnessDriver(dut)
        self.config = self.driver.config
        self.network: Network = load_model(Path(self.config["model"])).network
        self.spec = self.network.spec
        self.has_desires = rule_model(self.spec.layers[-1].rule).message is Desire  # another rule's are its own
        self.draws = DrawGenerator(self.spec)
        self.arrays = dict(np.load(self.config["arrays"]))
        self.fault = Fault(self.config["fault"]) if self.config["fault"] else None
        self.seed: int = self.config["seed"]
        self.folds = max(layer["folds"] for layer in self.driver.description["layers"])
        self.played = 0         # images compared so far
        self.cycles = 0         # from the first byte of a batch to its last image's reply
        self.predictions: list[int] = []
        self.segments: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []
        self.status: dict[str, int | str] = {}
        self.segment_index = 0
        self.start = 0          # images of the present segment that have been played
        self.right = 0          # ... and classified correctly
        self.responses: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []  # of a labelling: golden, design
        self.earlier: dict[str, int] = {}  # counters of the run this one continues
        self.counted = 0        # ... and clocks they have counted
        self.cleared = 0        # clock in which the design said that it had cleared its counters
        self.before = self.equal = self._point()   # of the present batch; where all that is learnt was last equal
        self.quiet = 0          # clock in which the last batch was done with
        self.visited: list[tuple[int, dict[int, tuple[IntArray, IntArray]]]] = []   # since weights were last equal
        self.membrane_words: list[NDArray[np.int64]] = []   # per layer, step and position: where its slices begin
        self.desire_words: list[list[int]] = []  # per layer: where in its capture the desires of each image begin
        if config_state := self.config.get("resume"):
            self._resume(Path(config_state))

    def _resume(self, path: Path) -> None:
        header, arrays = read_archive(path)
        self.network = network_from(arrays, self.spec, path)
        self.draws.states = [int(state) for state in header["random_states"]]
        for name, value in header["state"].items():
            setattr(self, name, value)
        if self.history:
            self.earlier = {name: self.history[-1][name] for name in COUNTERS}
            self.counted = self.history[-1]["clocks"]
        self.before = self.equal = self._point()

    def _point(self) -> _Point:
        return _Point(played=self.played, segment_index=self.segment_index, start=self.start,
                      state={name: [array.copy() for array in arrays] for name, arrays in self.network.state.items()},
                      random_states=list(self.draws.states))

    def write_point(self, found: Divergence) -> None:
        """Write down what the golden model knew before the image of a divergence, to resume there: what differs may
        then be had without all the images before. Of what is read back, all images count since it was last equal."""
        point = self.equal if found.read_back else self.before
        network = Network(spec=self.spec, **point.state)
        draws = DrawGenerator(self.spec)
        draws.states = list(point.random_states)
        images = 0 if found.read_back else found.image - point.played
        segment = self.config["segments"][point.segment_index]
        if segment["rate_shift"] is not None:
            for index in self.arrays[segment["order"]][point.start:point.start + images]:
                learn(network, self.arrays[f"{segment['split']}_images"][index],
                      int(self.arrays[f"{segment['split']}_labels"][index]), rate_shift=segment["rate_shift"],
                      **draws.draw()._asdict())
        write_archive(Path(POINT), {
            "format": 1, "kind": "cosim checkpoint", "run": self.config["run"], "random_states": draws.states,
            "state": {"played": point.played + images, "segment_index": point.segment_index,
                      "start": point.start + images}}, network_to(network))

    def save_checkpoint(self) -> None:
        """Write down a point at which both sides have been found equal."""
        if not self.config.get("checkpoint"):
            return
        names = ("played", "cycles", "predictions", "segments", "history", "segment_index", "start", "right")
        with undisturbed():
            write_archive(Path(self.config["checkpoint"]), {
                "format": 1, "kind": "cosim checkpoint", "run": self.config["run"],
                "random_states": self.draws.states, "state": {name: getattr(self, name) for name in names},
            }, network_to(self.network))

    def _cycle_limit(self, transfers: int, images: int) -> int:
        """Far more clock cycles than a batch can need, so that a hang ends."""
        spec = self.spec
        neurons = spec.inputs + spec.neurons + spec.classes
        forward = spec.steps * (neurons * self.folds + 200)
        learning = neurons * self.folds * (spec.steps + 40)
        cycles: int = (20_000 + 8 * transfers + images * (forward + learning)) * (8 if self.config["stall_mode"] else 1)
        return cycles

    async def exchange(self, words: NDArray[np.int64], replies: int, *, images: int = 0) -> list[Reply]:
        """Send packets and return the replies, whose bytes are counted by ``replies``."""
        limit = self._cycle_limit(len(words) + replies, images) + 20 * self.spec.parameters
        await self.driver.run({"commands": words}, expected={"replies": replies}, cycle_limit=limit)
        payloads, cycles = self.driver.output("replies")
        return decode_replies(np.array(payloads, dtype=np.int64), cycles)

    async def command(self, command: Command, payload: Any = ()) -> Reply:
        """Send one command and return its reply."""
        replies = await self.exchange(packet(command, payload), 2 + reply_bytes(self.spec, command))
        if len(replies) != 1:
            raise PacketError(f"{command.name} was answered by {len(replies)} packets")
        return expect(replies[0], self.spec, command)

    # -- what the design did -------------------------------------------------------------------

    def _taps(self, kind: str) -> list[dict[str, Any]]:
        return [tap for tap in self.driver.description["taps"] if tap["kind"] == kind]

    def _trains(self, images: int) -> list[NDArray[np.int64]]:
        spec = self.spec
        ends = np.zeros((images, spec.steps), dtype=np.uint8)
        ends[:, -1] = 1
        trains = []
        for tap in self._taps("spikes"):
            words = self.driver.capture(f"tap_{tap['name']}", tap["neurons"] + 1)
            if len(words) != images * spec.steps:
                raise BenchError(f"{tap['path']}: {len(words)} steps, expected {images} images of {spec.steps}")
            bits = words.bits(0, tap["neurons"] + 1).reshape(images, spec.steps, -1)
            if (bits[:, :, -1] != ends).any():
                raise BenchError(f"{tap['path']}: a sample ends at the wrong step")
            trains.append(bits[:, :, :-1].astype(np.int64))
        return trains

    def _membranes(self, images: int) -> list[NDArray[np.int64]]:
        spec = self.spec
        membranes = []
        self.membrane_words = []
        for membrane in self.driver.description["membranes"]:
            layer, slices, groups = membrane["layer"], membrane["slices"], len(membrane["signals"])
            captured = self.driver.capture(f"membrane_{layer}", membrane_word(membrane))
            values = captured.fields(0, membrane["width"], groups, signed=True)
            if "position" in membrane:
                words = self._words_of_positions(images, membrane, captured)
            elif len(values) != images * spec.steps * slices:
                raise BenchError(f"layer {layer}: {len(values)} membrane slices, expected "
                                 f"{images * spec.steps * slices}")
            else:
                words = np.arange(len(values)).reshape(-1, slices)[:, :1]
            self.membrane_words.append(words)
            positions = words.shape[1]
            each = slices // positions
            # At positions that no spike has reached in the sample there is nothing: potentials are zero.
            found = np.zeros((images * spec.steps, positions, each, groups), dtype=np.int64)
            found[words >= 0] = values[words[words >= 0][:, None] + np.arange(each)]
            # Each position's last neurons may be padding.
            found = found.reshape(images, spec.steps, positions, -1)[..., :spec.layers[layer].n_out // positions]
            membranes.append(found.reshape(images, spec.steps, -1))
        return membranes

    def _words_of_positions(self, images: int, membrane: dict[str, Any], captured: Words) -> NDArray[np.int64]:
        """Per step and position the first of its captured slices, int64 (images * T, positions); -1 where none is."""
        steps, width, layer = self.spec.steps, membrane["position"]["width"], membrane["layer"]
        each = membrane["slices"] // membrane["positions"]
        above = membrane["width"] * len(membrane["signals"])
        position = captured.fields(above, width)[:, 0]
        marker = captured.fields(above + width, membrane["marker"]["width"])[:, 0]
        ends = marker != 0
        if len(ends) % each or ends.sum() != images * steps or not ends[-1:].all():
            raise BenchError(f"layer {layer}: {ends.sum()} steps' membrane slices, expected {images * steps}")
        if ((marker[ends] == 2) != (np.arange(images * steps) % steps == steps - 1)).any():
            raise BenchError(f"layer {layer}: membrane slices of a sample end at the wrong step")
        firsts = np.arange(0, len(ends), each)
        step = (np.cumsum(ends) - ends)[firsts]
        if (np.repeat(position[firsts], each) != position).any() or position.max() >= membrane["positions"] or \
                len(np.unique(step * membrane["positions"] + position[firsts])) != len(firsts):
            raise BenchError(f"layer {layer}: membrane slices of no position, or of one twice in a step")
        words = np.full((images * steps, membrane["positions"]), -1)
        words[step, position[firsts]] = firsts
        return words

    def _desires(self, images: int, masks: list[list[Any]]) -> list[CapturedDesire]:
        """Decode the desires of each layer; what a layer's dropout mask hides is left out, as in the layer."""
        result = []
        self.desire_words = []
        taps = self._taps("desires")
        for layer, tap in enumerate(taps):
            words, neurons = self.driver.capture(f"tap_{tap['name']}", tap["width"]), tap["neurons"]
            values = {name: words.fields(field["offset"], field["width"])[:, 0]
                      for name, field in tap["fields"].items()}
            sign, exponent, error = (np.zeros((images, neurons), dtype=np.int64) for _ in range(3))
            start = 0
            self.desire_words.append([])
            for image in range(images):
                if start >= len(words):
                    raise BenchError(f"{tap['path']}: no desires for image {self.played + image}")
                self.desire_words[-1].append(start)
                if values["skip"][start]:
                    start += 1
                    continue
                part = slice(start, start + neurons)
                if len(values["active"][part]) < neurons:
                    raise BenchError(f"{tap['path']}: desires of image {self.played + image} are incomplete")
                active = values["active"][part]
                if masks[image][layer] is not None:
                    active = active & masks[image][layer]
                sign[image] = active * (1 - 2 * values["negative"][part])
                if tap["magnitude"] == Magnitude.GRADED:
                    exponent[image] = -active * values["magnitude"][part]
                else:
                    error[image] = active * values["magnitude"][part]
                start += neurons
            if start != len(words):
                raise BenchError(f"{tap['path']}: {len(words) - start} desires too many")
            result.append(CapturedDesire(sign=sign, exponent=exponent, error=error))
        return result

    def _located(self, found: list[Divergence], *, first_image: int = 0) -> list[Divergence]:
        """The mismatches with their clocks and paths; ``first_image`` is the number of the batch's first."""
        located = []
        maps = {index: layer["n_out"] // layer["positions"]
                for index, layer in enumerate(self.driver.description["layers"]) if layer.get("positions", 1) > 1}
        for each in found:
            if each.layer in maps and each.neuron is not None:
                position, channel = divmod(each.neuron, maps[each.layer])
                each = replace(each, position=position, channel=channel)
            if each.quantity == "weight" and each.layer is not None and each.layer < len(self.spec.layers):
                each = self._weight_of_a_map(each)
            clocks, path = self._place(each, each.image - first_image)
            if clocks is not None:
                first, last = clocks
                each = replace(each, first_clock=first, clock=last, time_ns=last * CLOCK_NS)
            located.append(replace(each, path=path))
        return located

    def _place(self, found: Divergence, image: int) -> tuple[tuple[int, int] | None, str | None]:
        """First and last clock of a mismatch in this image of the batch, and its path; None where there is none."""
        description, steps = self.driver.description, self.spec.steps
        layer, step, neuron = (number or 0 for number in (found.layer, found.step, found.neuron))
        match found.quantity.split()[0]:
            case "spike" if found.step is not None:
                tap = self._taps("spikes")[layer + 1]
                markers = self.driver.capture_clocks(f"tap_{tap['name']}", tap["neurons"] + 1)
                word = image * steps + step
                earliest = int(markers[word - 1]) + 1 if word else self.driver.go_clock
                return (earliest, int(markers[word])), payload_path(tap["path"])
            case "membrane":
                membrane = description["membranes"][layer]
                clocks = self.driver.capture_clocks(f"membrane_{layer}", membrane_word(membrane))
                position, place = slice_of(membrane, neuron)
                word = int(self.membrane_words[layer][image * steps + step, position])
                path = membrane_path(membrane, neuron)
                if word < 0:    # the position has not been served
                    return None, path
                word += place
            case _ if found.quantity in ("prediction", self.spec.readout.response):
                # A response's first byte, behind command, status and prediction.
                _, cycles = self.driver.output("replies")
                clocks = self.driver.go_clock + cycles
                place = 2 if found.neuron is None else 3 + response_bytes(self.spec) * neuron
                word = image * (2 + reply_bytes(self.spec, Command.INFER)) + place
                path = REPLIES
            case "desire":
                tap = self._taps("desires")[layer]
                clocks = self.driver.capture_clocks(f"tap_{tap['name']}", tap["width"])
                first, following = [*self.desire_words[layer], len(clocks)][image:image + 2]
                word = min(first + neuron, following - 1)  # a single word says that there are none
                path = payload_path(tap["path"])
            case "weight":
                return None, weight_path(description, layer, found.row or 0, found.column or 0)
            case _:
                return None, array_path(description, found.quantity, layer, neuron)
        return (int(clocks[word]), int(clocks[word])), path

    # -- a batch of images -----------------------------------------------------------------------

    async def batch(self, images: NDArray[np.uint8], labels: NDArray[np.uint8], *, rate_shift: int | None,
                    ) -> tuple[list[Divergence], NDArray[np.int64]]:
        """Play a batch through both, learning when there is a rate shift; returns the design's predictions too."""
        spec, count = self.spec, len(images)
        self.before = self._point()
        played = images
        if self.fault is Fault.PIXEL and self.played == 0:
            played = plant_pixel(self.network, images, self.seed)
        words = sample_packets(spec, played, labels if rate_shift is not None else None)
        words = np.concatenate([words, packet(Command.STATUS)])
        command = sample_command(spec, learn=rate_shift is not None)
        expected_bytes = count * (2 + reply_bytes(spec, command)) + 2 + reply_bytes(spec, Command.STATUS)
        with ThreadPoolExecutor(max_workers=1) as beside:   # while the simulator runs, Python is free
            wanted = beside.submit(self._golden, images, labels, rate_shift)
            replies = await self.exchange(words, expected_bytes, images=count)
        golden, desires, masks = wanted.result()
        if len(replies) != count + 1:
            raise PacketError(f"{count + 1} commands were answered by {len(replies)} packets")
        *answers, status = replies
        self.cycles += answers[-1].cycle
        self.quiet = self.driver.go_clock + status.cycle
        self.status = decode_status(expect(status, spec, Command.STATUS).payload)
        for name, value in self.earlier.items():
            self.status[name] = int(self.status[name]) + value
        payloads = np.array([expect(answer, spec, command).payload for answer in answers])
        ties = np.array([answer.status == Status.TIE for answer in answers])
        predictions = np.where(ties, -1, payloads[:, 0])

        trains = self._trains(count)
        captured = Captured(
            input_spikes=trains[0], spikes=tuple(trains[1:]), membranes=tuple(self._membranes(count)),
            responses=decode_responses(spec, payloads), predictions=predictions,
            desires=tuple(self._desires(count, masks)) if rate_shift is not None and self.has_desires else ())
        if self.fault is not None and self.played == 0:
            captured = plant_captured(captured, self.fault, self.seed)
        if any(tap["magnitude"] == Magnitude.GRADED for tap in self._taps("desires")):  # errors do not travel
            desires = [desire._replace(error=np.zeros_like(desire.error)) for desire in desires]
        found = self._located(mismatches(golden, captured, first_image=self.played, desires=desires,
                                          response_is=spec.readout.response),
                              first_image=self.played)
        self.responses.append((golden.responses, captured.responses))
        self.played += count
        self.predictions += predictions.tolist()
        counted = {name: value for name, value in self.status.items() if name not in ("spec_digest", "rate_shift")}
        self.history.append({
            "images": self.played, "correct": int((predictions == labels).sum()), "count": count,
            "learning": rate_shift is not None,
            "clocks": self.counted + self.driver.go_clock + status.cycle - self.cleared, **counted})
        self.driver.progress(done=self.played, total=self.config["total"])
        return found, predictions

    def _golden(self, images: NDArray[np.uint8], labels: NDArray[np.uint8], rate_shift: int | None
                ) -> tuple[ForwardRecord, list[CapturedDesire], list[list[Any]]]:
        """What the golden model makes of a batch: record, desires per layer, and dropout masks per image."""
        if rate_shift is None:
            return self.network.classify(images), [], []
        records, masks = [], []
        for image, label in zip(images, labels, strict=True):
            draws = self.draws.draw()
            masks.append(draws.kept)
            records.append(learn(self.network, image, int(label), rate_shift=rate_shift, **draws._asdict()))
        self._remember(records)
        desires = _stack_desires(records, [layer.n_out for layer in self.spec.layers]) if self.has_desires else []
        return _stack([record.forward for record in records]), desires, masks

    def _remember(self, records: Sequence[LearnRecord]) -> None:
        """Keep, image by image, which neurons of the layers of maps had weights changed between them."""
        for number, record in enumerate(records):
            if record.teaching:
                self.visited.append((self.played + number, {
                    at.index: rule_model(at.rule).visited(at, record.forward, record.teaching[at.index])
                    for at in self.spec.placed if at.synapses.patch is not None}))

    def _last_change(self, layer: int, row: int, channel: int) -> tuple[int, int] | None:
        """Image and position in which the golden model last changed a weight of a map; None if it did not."""
        synapses = self.spec.layers[layer].synapses
        table, columns = connections(synapses), synapses.weight_shape[1]
        through = np.flatnonzero(table.row == row)
        neurons = table.position[through] * columns + channel
        for image, layers in reversed(self.visited):
            presynaptic, postsynaptic = layers[layer]
            changed = through[np.isin(table.presynaptic[through], presynaptic) & np.isin(neurons, postsynaptic)]
            if len(changed):
                return image, int(table.position[changed[-1]])
        return None

    def _weight_of_a_map(self, found: Divergence) -> Divergence:
        """A weight's place in its kernel, and where it was last changed."""
        assert found.layer is not None
        assert found.row is not None
        assert found.column is not None
        synapses = self.spec.layers[found.layer].synapses
        patch = synapses.patch
        if patch is None:
            return found
        shared = synapses.weight_shape[0] == patch.neurons
        place, channel = divmod(found.row % patch.neurons, patch.channels)
        last = self._last_change(found.layer, found.row, found.column)
        return replace(found, tap=(*divmod(place, patch.width), channel), channel=found.column,
                       row_is="tap" if shared else "row",
                       changed_in=last[0] if last else None, position=last[1] if last else None)

    async def check_state(self) -> list[Divergence]:
        """Read all that has been learnt back and compare it."""
        image = max(0, self.played - 1)
        for name, declared in self.spec.learnt_state.items():
            reply = await self.command(STATE_ACCESS[name].read)
            read = decode_state(self.spec, name, reply.payload)
            if self.fault is not None and READ_BACK.get(self.fault) == name:
                read = plant_state(read, self.seed)
            owners = [len(self.spec.layers) if owner is None else owner for owner in self.spec.state_owners[name]]
            found = state_mismatches(self.network.state[name], read, quantity=declared[0].quantity, image=image,
                                     layers=owners)
            if found:
                return self._located(found)
        self.visited.clear()
        self.equal = self._point()
        return []

    async def load_state(self, state: dict[str, list[NDArray[Any]]]) -> int:
        """Load all that there is to be learnt; returns the clock cycles of the first, the weights."""
        cycles = [(await self.command(STATE_ACCESS[name].load, encode_state(self.spec, name, arrays))).cycle
                  for name, arrays in state.items()]
        return cycles[0]

    async def label(self, labels: NDArray[np.uint8]) -> list[Divergence]:
        """Label the neurons by the responses collected, on either side; load the votes into the design."""
        golden, design = (np.concatenate([pair[side] for pair in self.responses]) for side in (0, 1))
        if self.fault is Fault.LABEL:
            design[np.unravel_index(golden.argmax(), golden.shape)] += 1
        votes = [assign_votes(self.spec, responses, labels) for responses in (golden, design)]
        found = label_mismatches(*votes, image=max(0, self.played - 1))
        if not found:
            self.network.readout_state[0][:] = votes[0]
            await self.command(Command.LOAD_WEIGHTS, encode_state(self.spec, "weights", self.network.weights))
        return found

    async def segment(self, segment: dict[str, Any]) -> list[Divergence]:
        """Play one segment: a number of images of one split, learnt from or not."""
        images, labels = self.arrays[f"{segment['split']}_images"], self.arrays[f"{segment['split']}_labels"]
        order = self.arrays[segment["order"]]
        rate_shift = segment["rate_shift"]
        if rate_shift is not None:
            await self.command(Command.SET_RATE_SHIFT, [rate_shift])
        found: list[Divergence] = []
        self.responses = []
        due = self.start + segment["check_every"]
        while self.start < len(order) and not found and self.played < self.config["until"]:
            stop = min(self.start + self.config["batch"], len(order), due)
            part = order[self.start:stop]
            found, got = await self.batch(images[part], labels[part], rate_shift=rate_shift)
            self.right += int((got == labels[part]).sum())
            self.start = stop
            if self.start in (due, len(order)):
                due = self.start + segment["check_every"]
                if not found and rate_shift is not None:
                    found = await self.check_state()
                if not found and segment["label"] and self.start == len(order):
                    found = await self.label(labels[order])
                # A labelling that is cut short starts anew.
                if not found and (not segment["label"] or self.start == len(order)):
                    self.save_checkpoint()
        self.segments.append({"split": segment["split"], "learning": rate_shift is not None, "images": self.start,
                              "accuracy": self.right / self.start})
        self.start = self.right = 0
        return found


def _stack(records: list[ForwardRecord]) -> ForwardRecord:
    """Forward records of single images as one record of a batch."""
    layers = tuple(
        LayerRecord(spikes=np.array([record.layers[layer].spikes for record in records]),
                    membrane=np.array([record.layers[layer].membrane for record in records]),
                    threshold=records[0].layers[layer].threshold)
        for layer in range(len(records[0].layers)))
    inputs = tuple(np.array([record.inputs[index] for record in records]) for index in range(len(layers)))
    return ForwardRecord(input_spikes=np.array([record.input_spikes for record in records]), layers=layers,
                         inputs=inputs,
                         responses=np.array([record.responses for record in records]),
                         prediction=np.array([record.prediction for record in records]))


def _stack_desires(records: list[LearnRecord], sizes: Sequence[int]) -> list[CapturedDesire]:
    """Desires per layer, (images, n); zero for samples without any."""
    stacked = []
    for layer, size in enumerate(sizes):
        none = Desire(*(np.zeros(size, dtype=np.int64) for _ in Desire._fields))
        desires = [record.teaching[layer] if record.teaching else none for record in records]
        stacked.append(CapturedDesire(*(np.array([getattr(desire, name) for desire in desires])
                                        for name in CapturedDesire._fields)))
    return stacked


async def _play(session: _Session) -> dict[str, Any]:
    """Load the model's weights, then play all segments, a batch at a time; returns the result."""
    before = session.played
    config = session.config
    found: list[Divergence] = []
    error = ""
    loading_cycles = 0
    started = time.perf_counter()
    try:
        loaded = session.network.state
        if session.fault in (Fault.WEIGHT, Fault.PARAMETER):
            first = config["segments"][0]
            shown = session.arrays[f"{first['split']}_images"][session.arrays[first["order"]]]
            loaded = plant_loaded(session.network, session.fault, shown, session.seed)
        await session.driver.start(stall_mode=config["stall_mode"], seed=session.seed)
        loading_cycles = await session.load_state(loaded)
        if session.fault is Fault.INHIBITION:
            session.network = forget_inhibition(session.network)
        states = np.array(session.draws.states, dtype="<u4").view(np.uint8)
        await session.command(Command.SEED_RANDOM, states)
        cleared = await session.command(Command.CLEAR_COUNTERS)
        session.cleared = session.driver.go_clock + cleared.cycle
        started = time.perf_counter()
        while session.segment_index < len(config["segments"]) and not found and session.played < config["until"]:
            found = await session.segment(config["segments"][session.segment_index])
            session.segment_index += 1
        if found and config["point"]:
            session.write_point(found[0])
    except (BenchError, PacketError, InputError) as problem:
        error = str(problem)
    seconds = time.perf_counter() - started
    played = session.played
    return {
        "bit_exact": not found and not error,
        "divergence": found[0].to_json() if found else None,
        "mismatches": [each.to_json() for each in found],
        "error": error,
        "images": played,
        "replayed": played - before,
        "quiet": session.quiet,
        "predictions": session.predictions,
        "cycles_per_image": session.cycles / played if played else None,
        "loading_cycles": loading_cycles,
        "images_per_second": (played - before) / seconds,
        "segments": session.segments,
        "history": session.history,
        "counters": session.status,
        "digest": session.network.digest(),
    }


async def _record(dut: Any, first: int, last: int) -> None:
    """Record the waveform from one clock to another, counted from the simulation's start."""
    await Timer(first * CLOCK_NS, "ns")
    dut.record.value = 1
    await Timer((last - first) * CLOCK_NS, "ns")


@cocotb.test()
async def network(dut: Any) -> None:
    """Play everything; with a window, only until it has been recorded."""
    session = _Session(dut)
    if window := session.config["window"]:
        await First(cocotb.start_soon(_play(session)), cocotb.start_soon(_record(dut, *window)))
        session.driver.finish({"recorded": window})
        return
    result = await _play(session)
    session.driver.finish(result)
    assert result["bit_exact"], result["error"] or result["divergence"]
