"use strict";

// The server holds the state; this page shows it, and says what the user wants. Nothing is fetched from elsewhere.

const SIZE = 112;           // side of the drawing that is sent, in pixels
const WHILE_DRAWING_MS = 250;
const STEP_MS = 130;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

const $ = (id) => document.getElementById(id);
const percent = (fraction) => fraction === null ? "–" : fraction === 1 ? "100 %" : `${(100 * fraction).toFixed(1)} %`;
const number = (value) => value.toLocaleString("en");
const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };

let state = null;
let answer = null;
let weights = null;
let lessons = [];
let lessonsNumber = 0;
let shownWeights = "now";
let step = 0;
let playing = null;

// -- the server -----------------------------------------------------------------------------------

async function get(name) {
  const response = await fetch(name, {cache: "no-store"});
  const found = await response.json();
  if (!response.ok) throw new Error(found.error);
  return found;
}

async function post(name, body = {}) {
  try {
    const response = await fetch(name, {
      method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});
    if (response.ok) return true;
    say((await response.json()).error);
  } catch {
    say("the server does not answer; is 'lifstream play' still running?");
  }
  return false;
}

const say = (text) => put($("notice"), text);

async function follow() {
  for (;;) {
    try {
      const known = state === null ? 0 : state.revision;
      const found = await get(`state?known=${known}`);
      if (found.numbers.answer !== (answer?.number ?? 0)) await showAnswer(await get("answer"));
      if (found.numbers.weights !== (weights?.number ?? 0)) weights = await get("weights");
      if (found.numbers.lessons !== lessonsNumber) ({number: lessonsNumber, lessons} = await get("lessons"));
      const first = state === null;
      state = found;
      if (first) begin();
      show();
    } catch {
      put($("status"), "the server does not answer; start 'lifstream play' again and open the address that it prints");
      $("status").className = "";
      await new Promise((wake) => setTimeout(wake, 1500));
    }
  }
}

const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const floats = (text) => new Float32Array(bytes(text).buffer);

function base64(array) {
  let text = "";
  for (let start = 0; start < array.length; start += 4096)
    text += String.fromCharCode(...array.subarray(start, start + 4096));
  return btoa(text);
}

// -- colours --------------------------------------------------------------------------------------

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function rgb(name) {
  const text = colour(name);
  if (!text.startsWith("#")) return text.split(" ").map(Number);
  return [1, 3, 5].map((start) => parseInt(text.slice(start, start + 2), 16));
}

const mixed = (from, to, share) => from.map((value, index) => value + (to[index] - value) * share);

function paint(canvas, width, height, colourOf) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let place = 0; place < width * height; place++) {
    const found = colourOf(place % width, Math.floor(place / width));
    if (found) image.data.set([...found, 255], 4 * place);
  }
  context.putImageData(image, 0, 0);
}

/** A canvas in CSS pixels, as sharp as the screen. */
function sharp(canvas) {
  const ratio = devicePixelRatio || 1, box = canvas.getBoundingClientRect();
  canvas.width = Math.max(1, Math.round(box.width * ratio));
  canvas.height = Math.max(1, Math.round(box.height * ratio));
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.font = "12px system-ui, sans-serif";
  return [context, box.width, box.height];
}

// -- drawing --------------------------------------------------------------------------------------

const paper = $("paper");
let strokes = [];       // lists of points, 0..1
let ground = null;      // an earlier drawing, as pixels
let stroke = null;
let sending = false, changed = false, lastSent = 0;
let sent = "";          // the drawing that was sent last

function drawStrokes(context, size, ink) {
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = pen() * size;
  context.strokeStyle = context.fillStyle = ink;
  for (const points of strokes) {
    context.beginPath();
    context.moveTo(points[0][0] * size, points[0][1] * size);
    for (const [x, y] of points.length > 1 ? points.slice(1) : points) context.lineTo(x * size, y * size);
    context.stroke();
  }
}

// A drawing fills about seven tenths of the paper; its box is then scaled to the images' size.
const pen = () => 0.7 * (state?.model.pen ?? 0.12);

function groundCanvas(ink) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = ground.size;
  const context = canvas.getContext("2d"), image = context.createImageData(ground.size, ground.size);
  ground.pixels.forEach((value, place) => image.data.set([...ink, value], 4 * place));
  context.putImageData(image, 0, 0);
  return canvas;
}

function showPaper() {
  const size = Math.round(paper.getBoundingClientRect().width * (devicePixelRatio || 1)) || SIZE;
  paper.width = paper.height = size;
  const context = paper.getContext("2d");
  if (ground) context.drawImage(groundCanvas(rgb("ink")), 0, 0, size, size);
  drawStrokes(context, size, colour("ink"));
}

function pixels() {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIZE;
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.fillStyle = "#000";
  context.fillRect(0, 0, SIZE, SIZE);
  if (ground) context.drawImage(groundCanvas([255, 255, 255]), 0, 0, SIZE, SIZE);
  drawStrokes(context, SIZE, "#fff");
  const data = context.getImageData(0, 0, SIZE, SIZE).data;
  return Uint8Array.from({length: SIZE * SIZE}, (_, place) => data[4 * place]);
}

async function send() {
  document.body.dataset.drawn = "false";
  changed = true;
  if (sending) return;
  sending = true;
  while (changed) {
    changed = false;
    lastSent = performance.now();
    sent = base64(pixels());
    await post("draw", {size: SIZE, pixels: sent});
  }
  sending = false;
}

function place(event, box) {
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

paper.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || stroke) return;
  event.preventDefault();
  paper.setPointerCapture(event.pointerId);
  const box = paper.getBoundingClientRect();   // where it is now: the page may move under the pen
  stroke = {pointer: event.pointerId, box, points: [place(event, box)]};
  strokes.push(stroke.points);
  showPaper();
});
paper.addEventListener("pointermove", (event) => {
  if (stroke?.pointer !== event.pointerId) return;
  for (const each of event.getCoalescedEvents?.() ?? [event]) stroke.points.push(place(each, stroke.box));
  showPaper();
  if (!sending && performance.now() - lastSent > WHILE_DRAWING_MS) send();
});
for (const kind of ["pointerup", "pointercancel"]) paper.addEventListener(kind, (event) => {
  if (stroke?.pointer !== event.pointerId) return;
  stroke = null;
  send();
});

$("clear").addEventListener("click", () => { strokes = []; ground = null; showPaper(); send(); });
$("undo-stroke").addEventListener("click", () => {
  if (strokes.length) strokes.pop(); else ground = null;
  showPaper();
  send();
});
$("test-image").addEventListener("click", () => { strokes = []; ground = null; showPaper(); post("test-image"); });

function putOnPaper(drawing) {
  strokes = [];
  ground = drawing && {size: drawing.size, pixels: bytes(drawing.pixels)};
  showPaper();
}

// -- what the page shows ----------------------------------------------------------------------------

function begin() {
  const {model} = state;
  put($("model"), `${model.name}: ${model.words}; ${number(model.parameters)} weights of ${model.weight_bits} bits, ` +
    `${model.steps} time steps`);
  put($("engine"), state.engine);
  put($("seen-size"), `${model.height} × ${model.width}`);
  put($("seen-set"), model.dataset);
  for (let label = 0; label < model.classes; label++) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.setAttribute("aria-label", `Teach that this is a ${label}`);
    button.addEventListener("click", () => teach(label));
    $("labels").append(button);
    const row = document.createElement("li");
    row.append(document.createElement("span"), document.createElement("i"), document.createElement("span"));
    row.children[0].textContent = label;
    row.children[1].append(document.createElement("b"));
    $("counts").append(row);
  }
  [$("rate").min, $("rate").max] = model.rate_shifts;
  const names = ["input", ...model.layers.map((_, index) => index + 1 < model.layers.length ? `layer ${index}` : "output")];
  names.forEach((name, index) => {
    const figure = document.createElement("figure"), caption = document.createElement("figcaption");
    const canvas = document.createElement("canvas"), total = document.createElement("span");
    const map = index ? model.layers[index - 1].map : null;
    const neurons = index ? model.layers[index - 1].neurons : model.height * model.width;
    caption.append(index ? `${name}: ${map ? map.join(" × ") : neurons}` : `input: ${model.height} × ${model.width}`, total);
    canvas.setAttribute("aria-label", `Spikes of the ${name}`);
    if (index && !map) canvas.className = "raster";
    figure.className = index && index < model.layers.length ? "hidden-layer" : "end";
    figure.append(caption, canvas);
    $("layers").append(figure);
  });
  if (model.layers.some(({map}) => map)) $("layers").classList.add("maps");
  if (answer) showAnswerNow();
  showPaper();
}

function show() {
  const {phase, meter} = state, ready = phase === "ready";
  Object.assign(document.body.dataset, {phase, taught: state.taught, unread: state.unread, answer: answer?.number ?? 0});
  const doing = phase === "starting" || phase === "ready" ? state.doing : phase === "lost" ? "the chip does not answer" :
    "lifstream play has ended";
  put($("status"), doing || (state.unread ? "reading the weights back" : ""));
  $("status").className = doing && phase !== "ended" && phase !== "lost" ? "busy" : "";
  const check = $("check");
  check.hidden = !state.chip;
  check.className = `badge ${state.different ? "differs" : state.compared ? "equal" : ""}`;
  put(check, state.different ? `✗ ${number(state.different)} differ from the golden model` :
    state.compared ? `✓ ${number(state.compared)} answers equal the golden model's` : "nothing compared yet");
  $("alarm").hidden = !state.different && phase !== "lost";
  put($("alarm-title"), phase === "lost" ? "The chip does not answer." : "The chip and the golden model differ.");
  const found = phase === "lost" ? [state.notice] : state.differences;
  if ($("alarm-list").textContent !== found.join("")) $("alarm-list").replaceChildren(...found.map((text) => {
    const row = document.createElement("li");
    row.textContent = text;
    return row;
  }));
  const teaching = state.doing.startsWith("teaching");
  $("end-lesson").hidden = !teaching;
  for (const button of document.querySelectorAll("#labels button, #test-image, #undo, #reset, #rate"))
    button.disabled = !ready || teaching;
  $("undo").disabled ||= !lessons.length;
  $("reset").disabled ||= !state.taught;
  $("save").disabled = !state.unsaved || phase === "starting" || phase === "ended";
  put($("saved"), state.unsaved ? `writes ${state.out}` : state.saved ? `saved as ${state.saved}` : "nothing to save yet");
  if (state.notice) say(state.notice);
  if (document.activeElement !== $("rate")) $("rate").value = state.rate_shift;
  put($("rate-value"), String(state.rate_shift));
  put($("meter"), meter.running ? "Pause" : "Run");
  put($("recent"), percent(meter.accuracy));
  put($("recent-count"), number(meter.recent));
  put($("overall"), percent(meter.seen ? meter.right / meter.seen : null));
  put($("overall-count"), number(meter.seen));
  const last = lessons.at(-1);
  put($("before"), percent(last ? last.accuracy : null));
  showCurve();
  showLessons();
  showWeights();
}

function showLessons() {
  const key = `${lessonsNumber} ${dark.matches}`;
  if ($("lessons").dataset.key === key) return;
  $("lessons").dataset.key = key;
  const ink = rgb("ink"), ground = rgb("paper"), {height, width} = state.model;
  $("lessons").replaceChildren(...lessons.map((lesson) => {
    const row = document.createElement("li"), button = document.createElement("button");
    const canvas = document.createElement("canvas"), what = document.createElement("b");
    const known = document.createElement("span"), image = bytes(lesson.image);
    paint(canvas, width, height, (x, y) => mixed(ground, ink, image[y * width + x] / 255));
    what.textContent = `is a ${lesson.label}`;
    known.textContent = (lesson.known ? "known" : "not known") + `, ${lesson.repetitions}×`;
    known.className = lesson.known ? "known" : "forgotten";
    button.type = "button";
    button.disabled = !lesson.drawing;
    button.title = "Put it on the paper again";
    button.append(canvas, what, known);
    button.addEventListener("click", () => { putOnPaper(lesson.drawing); send(); });
    row.append(button);
    return row;
  }));
}

function showCurve() {
  const [context, width, height] = sharp($("curve")), {points, seen, lessons: ends} = state.meter;
  if (!points.length) return;
  const lowest = Math.min(...points.map(([, accuracy]) => accuracy));
  const bottom = Math.max(0, Math.min(0.8, Math.floor(10 * lowest) / 10)), left = 42;
  const x = (at) => left + (width - left - 4) * at / Math.max(seen, 100);
  const y = (accuracy) => 6 + (height - 14) * (1 - accuracy) / (1 - bottom);
  context.fillStyle = colour("soft");
  context.strokeStyle = colour("edge");
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const level of [1, bottom]) {
    context.fillText(`${Math.round(100 * level)} %`, left - 4, y(level));
    line(context, [[left, y(level)], [width, y(level)]]);
  }
  context.strokeStyle = colour("spike");
  context.setLineDash([3, 3]);
  for (const at of ends) line(context, [[x(at), 4], [x(at), height - 6]]);
  context.setLineDash([]);
  context.strokeStyle = colour("accent");
  context.lineWidth = 1.8;
  line(context, points.map(([at, accuracy]) => [x(at), y(accuracy)]));
}

function line(context, points) {
  context.beginPath();
  points.forEach(([x, y], index) => index ? context.lineTo(x, y) : context.moveTo(x, y));
  context.stroke();
}

// -- an answer ------------------------------------------------------------------------------------

async function showAnswer(found) {
  const first = answer === null, before = answer;
  answer = {...found, trains: found.spikes.map(bytes)};
  // What is on the paper is the drawing that was sent, but after a reload, or where another page drew.
  if (first && found.drawing && !strokes.length) putOnPaper(found.drawing);
  if (!stroke && !changed && found.drawing?.pixels === sent) document.body.dataset.drawn = "true";
  if (state) showAnswerNow(before?.image === answer.image);
}

function showAnswerNow(again = false) {
  const {model} = state, {prediction, counts, label} = answer;
  const ink = rgb("ink"), ground = rgb("paper"), image = bytes(answer.image);
  paint($("seen"), model.width, model.height, (x, y) => mixed(ground, ink, image[y * model.width + x] / 255));
  const blank = !image.some((value) => value);
  put($("answer"), blank ? "–" : prediction < 0 ? "?" : String(prediction));
  $("answer").className = answer.equal ? "" : "differs";
  const most = Math.max(1, ...counts), perClass = counts.length === model.classes;
  [...$("counts").children].forEach((row, index) => {
    const count = perClass ? counts[index] : 0;
    row.className = index === prediction && !blank ? "won" : "";
    row.querySelector("b").style.width = `${100 * count / most}%`;
    put(row.lastElementChild, String(count));
  });
  const sure = [...counts].sort((a, b) => b - a);
  put($("answer-note"), blank ? "Nothing is drawn." :
    (label === null ? "" : `A test image: it is a ${label}. `) +
    (prediction < 0 ? "A tie: no answer." : `${sure[0]} spikes, the next has ${sure[1]}.`) +
    (answer.equal ? "" : " The golden model says otherwise."));
  $("step").max = model.steps - 1;
  if (again || calm.matches || stroke) seek(model.steps - 1); else { seek(0); run(); }
}

function seek(to) {
  step = to;
  $("step").value = step;
  put($("step-value"), `step ${step + 1} of ${state.model.steps}`);
  showStep();
}

function run() {
  clearInterval(playing);
  playing = setInterval(() => {
    if (!answer || step >= state.model.steps - 1) return halt();
    seek(step + 1);
  }, STEP_MS);
  $("play").textContent = "❚❚";
  $("play").setAttribute("aria-label", "Pause");
}

function halt() {
  clearInterval(playing);
  playing = null;
  $("play").textContent = "▶";
  $("play").setAttribute("aria-label", "Play the time steps");
}

$("play").addEventListener("click", () => {
  if (!answer) return;
  if (playing) return halt();
  if (step >= state.model.steps - 1) seek(0);
  run();
});
$("step").addEventListener("input", () => { halt(); if (answer) seek(Number($("step").value)); });

const fires = (train, place) => train[place >> 3] >> (place & 7) & 1;

function showStep() {
  const {model} = state;
  const shades = {spike: rgb("spike"), ground: rgb("paper"), faint: rgb("faint"), accent: rgb("accent")};
  answer.trains.forEach((train, index) => {
    const canvas = $("layers").children[index].querySelector("canvas");
    const layer = model.layers[index - 1];
    const map = index ? layer.map : [model.height, model.width, 1];
    const neurons = index ? layer.neurons : model.height * model.width;
    if (map) showMap(canvas, train, map, neurons, shades); else showRaster(canvas, train, neurons, shades);
    let now = 0;
    for (let neuron = 0; neuron < neurons; neuron++) now += fires(train, step * neurons + neuron);
    put($("layers").children[index].querySelector("span"), `${now} now, ${number(answer.totals[index])} in all`);
  });
  showPotentials();
}

/** Each channel as an image: what fires in this step, and how often it has fired so far. */
function showMap(canvas, train, [height, width, channels], neurons, {spike, ground, accent, faint}) {
  const columns = channels === 1 ? 1 : Math.max(1, Math.round(Math.sqrt(2.4 * channels * height / width)));
  const rows = Math.ceil(channels / columns), gap = channels > 1 ? 1 : 0;
  const counts = new Uint8Array(neurons);
  for (let at = 0; at <= step; at++)
    for (let neuron = 0; neuron < neurons; neuron++) counts[neuron] += fires(train, at * neurons + neuron);
  paint(canvas, columns * (width + gap) - gap, rows * (height + gap) - gap, (x, y) => {
    const column = Math.floor(x / (width + gap)), row = Math.floor(y / (height + gap));
    const channel = row * columns + column, inX = x % (width + gap), inY = y % (height + gap);
    if (channel >= channels) return null;
    if (inX === width || inY === height) return faint;
    const neuron = (inY * width + inX) * channels + channel;
    if (fires(train, step * neurons + neuron)) return spike;
    return mixed(ground, accent, 0.75 * counts[neuron] / state.model.steps);
  });
}

/** Neurons from top to bottom, time from left to right; what is still to come is pale. */
function showRaster(canvas, train, neurons, {spike, ground, accent, faint}) {
  const {steps} = state.model, wide = 4;
  const high = Math.max(1, Math.ceil(200 / neurons));
  paint(canvas, steps * wide, neurons * high, (x, y) => {
    const at = Math.floor(x / wide), fired = fires(train, at * neurons + Math.floor(y / high));
    const apart = high > 3 && y % high === high - 1;
    if (fired && x % wide < wide - 1 && !apart) return at === step ? spike : at < step ? accent : mixed(ground, accent, 0.22);
    return at === step ? mixed(ground, spike, 0.13) : apart ? mixed(ground, faint, 0.6) : ground;
  });
}

function showPotentials() {
  const [context, width, height] = sharp($("potentials")), {membrane, prediction} = answer;
  const {steps, layers} = state.model, {threshold} = layers.at(-1), classes = membrane[0].length;
  const ranked = Array.from({length: classes}, (_, index) => index)
    .sort((a, b) => (answer.counts[b] - answer.counts[a]) || (membrane.at(-1)[b] - membrane.at(-1)[a]));
  const first = prediction >= 0 ? prediction : ranked[0], second = ranked.find((each) => each !== first);
  const all = membrane.flat();
  const low = Math.min(0, ...all), high = Math.max(threshold * 1.1, ...all), left = 8, right = 30;
  const x = (at) => left + (width - left - right) * at / Math.max(1, steps - 1);
  const y = (value) => 8 + (height - 16) * (high - value) / (high - low);
  context.strokeStyle = colour("edge");
  line(context, [[left, y(0)], [width - right, y(0)]]);
  line(context, [[x(step), 2], [x(step), height - 2]]);
  context.strokeStyle = colour("soft");
  context.setLineDash([4, 4]);
  line(context, [[left, y(threshold)], [width - right, y(threshold)]]);
  context.setLineDash([]);
  context.textBaseline = "middle";
  const drawn = [...ranked.filter((each) => each !== first && each !== second).reverse(), second, first];
  for (const neuron of drawn) {
    if (neuron === undefined) continue;
    const shade = colour(neuron === first ? "accent" : neuron === second ? "spike" : "edge");
    context.strokeStyle = context.fillStyle = shade;
    context.lineWidth = neuron === first ? 2.4 : neuron === second ? 1.8 : 1;
    line(context, membrane.slice(0, step + 1).map((values, at) => [x(at), y(values[neuron])]));
    for (let at = 0; at <= step; at++) {
      if (!fires(answer.trains.at(-1), at * classes + neuron)) continue;
      context.beginPath();
      context.arc(x(at), y(membrane[at][neuron]), neuron === first ? 3.4 : 2.4, 0, 7);
      context.fill();
    }
  }
  const ends = [first, second].map((neuron) => y(membrane[step][neuron ?? first]));
  if (Math.abs(ends[0] - ends[1]) < 13) ends[1] = ends[0] + (ends[1] >= ends[0] ? 13 : -13);
  [first, second].forEach((neuron, index) => {
    if (neuron === undefined) return;
    context.fillStyle = colour(index ? "spike" : "accent");
    context.fillText(String(neuron), x(step) + 7, Math.min(height - 7, Math.max(7, ends[index])));
  });
  put($("potential-note"), `blue: ${first}, orange: ${second}, grey: the others; dots: spikes, dashed: threshold`);
}

// -- weights --------------------------------------------------------------------------------------

let paintedWeights = "";

function showWeights() {
  if (!weights) return;
  const change = shownWeights === "now" ? null : weights[shownWeights];
  const key = `${weights.number} ${shownWeights} ${dark.matches}`;
  if (key !== paintedWeights) {
    paintedWeights = key;
    const values = floats(change ? change.image : weights.image), {rows, columns} = weights;
    const sizes = values.filter((value) => !Number.isNaN(value)).map(Math.abs).sort();
    const limit = (change ? sizes.at(-1) : sizes[Math.floor(0.995 * (sizes.length - 1))]) || 1;
    $("weights").style.maxWidth = `${16 * columns}px`;
    const plus = rgb("plus"), minus = rgb("minus"), zero = rgb("zero"), faint = rgb("faint");
    paint($("weights"), columns, rows, (x, y) => {
      const value = values[y * columns + x];
      if (Number.isNaN(value)) return faint;
      return mixed(zero, value > 0 ? plus : minus, Math.min(1, Math.abs(value) / limit));
    });
  }
  const source = !state.chip ? "" : !weights.read ? "Not read back yet. " :
    weights.differ ? "Read from the chip, and not what they should be. " : "";
  const checked = weights.read && !weights.differ && state.chip && state.taught ?
    " Read from the chip and equal to the golden model's, every one." : "";
  const list = (change ?? weights.loaded).changed.map((count, index) =>
    `${number(count)} of ${number(weights.sizes[index])} in layer ${index}`).join(", ");
  const text = change ? `Changed: ${list}; the largest change is ${Math.max(...change.largest)} ` +
    `(a threshold is ${number(weights.one)}).` : `${weights.name[0].toUpperCase()}${weights.name.slice(1)} of ` +
    `layer 0, ${weights.across}${weights.down ? `; ${weights.down}` : ""}: orange positive, blue negative.`;
  put($("weights-note"), source + text + checked);
}

for (const button of document.querySelectorAll("[data-weights]")) button.addEventListener("click", () => {
  shownWeights = button.dataset.weights;
  for (const each of document.querySelectorAll("[data-weights]")) each.setAttribute("aria-pressed", String(each === button));
  showWeights();
});

// -- what the user wants --------------------------------------------------------------------------

async function teach(label) {
  const until = document.querySelector("input[name=mode]:checked").value === "known";
  if (await post("teach", {label, until_known: until}) && shownWeights === "now")
    document.querySelector("[data-weights=lesson]").click();
}

for (const name of ["undo", "reset", "load", "save", "end-lesson"]) $(name).addEventListener("click", () => post(name));
$("meter").addEventListener("click", () => post("meter", {running: !state.meter.running}));
$("rate").addEventListener("input", () => put($("rate-value"), $("rate").value));
$("rate").addEventListener("change", () => post("rate", {rate_shift: Number($("rate").value)}));

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || !state || event.target.matches("input")) return;
  const label = /^[0-9]$/.test(event.key) ? Number(event.key) : null;
  if (label !== null && label < state.model.classes && !$("labels").children[label].disabled) teach(label);
  else if (event.key === "c") $("clear").click();
  else if (event.key === "z") $("undo-stroke").click();
});

function redraw() {
  showPaper();
  if (!state) return;
  if (answer) { showAnswerNow(true); }
  show();
}

addEventListener("resize", redraw);
dark.addEventListener("change", redraw);
showPaper();
follow();
