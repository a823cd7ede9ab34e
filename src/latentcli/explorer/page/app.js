"use strict";
/* The page of `latentcli explore`. A state says what the picture starts from ({seed}, {photo}, {image} or {walk}) and
   the strengths of the vectors it is moved along; the backend, a server or a decoder in the page, makes pictures of it. */

const $ = id => document.getElementById(id);
const REACH = 3, STEP = 0.05; // class gaps that a slider goes to both sides when it may go further, and in one step
const LONGEST = 200; // states that can be undone

/* ---- backends ---- */

function serverBackend() {
  const token = new URLSearchParams(location.search).get("token") || "";
  const tab = Math.random().toString(36).slice(2);
  let number = 0;
  async function ask(name, body, headers) {
    const isFile = body instanceof Blob;
    let response;
    try {
      response = await fetch("/api/" + name, {
        method: "POST",
        headers: { "x-token": token, ...(isFile ? headers : { "content-type": "application/json" }) },
        body: isFile ? body : JSON.stringify(body || {}),
      });
    } catch (error) {
      throw new Error("latentcli no longer answers; start it again in the terminal");
    }
    if (response.status === 204) return null; // a newer picture was asked for
    if (!response.ok) {
      const told = await response.json().catch(() => ({}));
      throw new Error(told.error || "the server failed (" + response.status + ")");
    }
    return response;
  }
  const json = async (name, body) => (await ask(name, body)).json();
  return {
    describe: () => json("model"),
    start: state => json("start", { state }),
    async picture(state, newest) {
      const response = await ask("picture", { state, tab, number: newest ? ++number : 0 });
      return response && response.blob();
    },
    strip: async (state, name) => (await ask("strip", { state, name })).blob(),
    async download(state) {
      const response = await ask("download", { state });
      const named = /filename="([^"]*)"/.exec(response.headers.get("content-disposition") || "");
      return { blob: await response.blob(), name: named ? named[1] : "picture.png" };
    },
    latents: async state => ({ blob: await (await ask("latents", { state })).blob(), name: "explored.latents.safetensors" }),
    command: async state => (await json("command", { state })).command,
    photo: async file => (await ask("photo", file, { "x-name": encodeURIComponent(file.name || "photo.png") })).json(),
    fit: body => json("fit", body),
  };
}

/* ---- state, undo and redo ---- */

let backend, model;
let state = { seed: 0, moves: {} };
let history = [], place = -1;
let ranges = {};
const pins = [];
let align = true;
window.latencies = []; // ms from a slider's move to its picture, for benchmarks

const copyOf = value => JSON.parse(JSON.stringify(value));
const startOf = given => { const { moves, ...start } = given; return start; };
const key = given => JSON.stringify(given);

function commit() {
  if (place >= 0 && key(history[place]) === key(state)) return;
  history = history.slice(Math.max(0, place + 1 - LONGEST), place + 1);
  history.push(copyOf(state));
  place = history.length - 1;
  after();
}
function goTo(next) {
  if (next < 0 || next >= history.length) return;
  const before = key(startOf(state));
  place = next;
  state = copyOf(history[place]);
  showSliders();
  refresh();
  if (key(startOf(state)) !== before) started();
  after();
}
async function after() {
  $("undo").disabled = place <= 0;
  $("redo").disabled = place >= history.length - 1;
  if (!backend.command) return;
  const asked = key(state);
  try {
    const text = await backend.command(state);
    if (key(state) === asked) {
      const isUntouched = state.photo && !Object.keys(state.moves).length;
      $("command").textContent = text || (isUntouched ? "move a slider" : "no command makes this picture; its latent can be saved");
      $("copy").disabled = !text;
    }
  } catch (error) { showStatus(error.message, true); }
}

/* ---- pictures ---- */

function showStatus(text, bad) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", Boolean(bad));
}
function put(image, blob) {
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(blob);
  return image.decode().catch(() => {});
}
let wanted = null, running = false, asked = 0;
async function refresh() {
  wanted = copyOf(state);
  asked = performance.now();
  if (running) return;
  running = true;
  while (wanted) {
    const now = wanted, since = asked;
    wanted = null;
    try {
      const blob = await backend.picture(now, true);
      if (!blob) continue;
      await put($("picture"), blob);
      window.latencies.push(performance.now() - since);
      $("picture").dataset.state = key(now);
      if ($("status").classList.contains("bad") || $("status").textContent === "loading") showStatus("");
    } catch (error) { showStatus(error.message, true); }
  }
  running = false;
}
async function started() {
  const asked = key(startOf(state));
  try {
    const found = await backend.start(state);
    if (key(startOf(state)) !== asked) return;
    ranges = found.ranges || {};
    $("notes").replaceChildren(...(found.notes || []).map(note => {
      const item = document.createElement("li");
      item.textContent = note;
      return item;
    }));
    shade();
    const before = await backend.picture({ ...startOf(state), moves: {} });
    if (before) await put($("before"), before);
  } catch (error) { showStatus(error.message, true); }
}
function startFrom(start, moves) {
  state = { ...start, moves: moves || state.moves };
  if (start.seed !== undefined) $("seed").value = start.seed;
  $("strip").hidden = true; // which shows the picture before
  striped = "";
  showSliders();
  refresh();
  started();
  commit();
}

/* ---- sliders ---- */

function slider(vector) {
  const row = document.createElement("div");
  row.className = "slider";
  const label = document.createElement("label"), input = document.createElement("input");
  const output = document.createElement("output");
  label.textContent = vector.name;
  label.htmlFor = input.id = "v-" + vector.name;
  label.title = vector.advice || vector.name;
  Object.assign(input, { type: "range", min: -REACH, max: REACH, step: STEP, value: 0 });
  input.dataset.vector = vector.name;
  input.addEventListener("input", () => { move(vector.name, Number(input.value)); });
  input.addEventListener("change", commit);
  input.addEventListener("dblclick", () => { move(vector.name, 0); showSliders(); commit(); });
  row.addEventListener("pointerenter", () => strip(vector.name));
  input.addEventListener("focus", () => strip(vector.name));
  const track = document.createElement("div");
  track.className = "track";
  track.append(input);
  row.append(label, track, output);
  return row;
}
function move(name, strength) {
  state.moves[name] = strength;
  if (!strength) delete state.moves[name];
  say(name);
  showPad();
  refresh();
}
function say(name) {
  const input = $("v-" + name), strength = state.moves[name] || 0;
  const sigma = model.vectors.find(vector => vector.name === name).sigma;
  const words = strength.toFixed(2) + (sigma ? " (" + (strength * sigma).toFixed(1) + " sd)" : "");
  input.setAttribute("aria-valuetext", words);
  input.closest(".slider").querySelector("output").textContent = words;
}
function showSliders() {
  for (const vector of model.vectors) say(vector.name);
  shade();
}
/* Where a slider ends: where the pictures end that its vector was measured on, until one wants to go further. A
   strength that is set already stays within. */
function limits(name) {
  const range = ranges[name], strength = state.moves[name] || 0;
  const [low, high] = range && !$("further").checked ? range.map(end => Math.min(REACH, Math.max(-REACH, end))) : [-REACH, REACH];
  const whole = (value, round) => Number((round(value / STEP - 1e-6 * Math.sign(value)) * STEP).toFixed(2));
  return [whole(Math.min(low, strength, -2 * STEP), Math.floor), whole(Math.max(high, strength, 2 * STEP), Math.ceil)];
}
function shade() {
  for (const { name } of model.vectors) {
    const input = $("v-" + name), [first, last] = limits(name), [low, high] = ranges[name] || [0, 0];
    const share = value => (Math.min(last, Math.max(first, value)) - first) / (last - first);
    Object.assign(input, { min: first, max: last, value: state.moves[name] || 0 });
    const further = $("further").checked; // only then a part of the track is beyond the pictures
    for (const [edge, value] of [["--low", further ? low : 0], ["--high", further ? high : 0], ["--zero", 0]]) {
      input.parentElement.style.setProperty(edge, `calc(.5rem + (100% - 1rem) * ${share(value)})`); // the thumb is 1rem
    }
  }
  showPad();
}
function drawSliders() {
  const groups = [["Vectors", true], ["Unsupervised directions", false]];
  $("sliders").replaceChildren(...groups.flatMap(([title, labelled]) => {
    const some = model.vectors.filter(vector => vector.labelled === labelled);
    if (!some.length) return [];
    const box = document.createElement("fieldset"), legend = document.createElement("legend");
    legend.textContent = title;
    box.append(legend, ...some.map(slider));
    return [box];
  }));
  for (const select of [$("pad-x"), $("pad-y")]) {
    const before = select.value;
    select.replaceChildren(...model.vectors.map(vector => new Option(vector.name, vector.name)));
    if (before) select.value = before;
  }
  if (!$("pad-y").dataset.set && model.vectors.length > 1) {
    $("pad-y").selectedIndex = 1;
    $("pad-y").dataset.set = "yes";
  }
  $("pad-box").hidden = model.vectors.length < 2;
  showSliders();
}
let striped = "", stripTimer = 0;
function strip(name) {
  if (!backend.strip) return;
  clearTimeout(stripTimer);
  stripTimer = setTimeout(async () => {
    const wish = name + key(startOf(state));
    if (wish === striped) return;
    striped = wish;
    try {
      await put($("strip").querySelector("img"), await backend.strip(state, name));
      $("strip").hidden = false;
    } catch (error) { striped = ""; }
  }, 250);
}

/* ---- pad ---- */

function showPad() {
  const spot = $("pad").firstElementChild;
  const percent = name => {
    const [low, high] = limits(name);
    return 100 * ((state.moves[name] || 0) - low) / (high - low);
  };
  spot.style.left = percent($("pad-x").value) + "%";
  spot.style.top = 100 - percent($("pad-y").value) + "%";
}
function padTo(x, y) {
  for (const [name, value] of [[$("pad-x").value, x], [$("pad-y").value, y]]) {
    const [low, high] = limits(name);
    move(name, Number((Math.round(Math.min(high, Math.max(low, value)) / STEP) * STEP).toFixed(2)));
  }
  showSliders();
}
function padEvent(event) {
  const box = $("pad").getBoundingClientRect();
  const at = (name, share) => { const [low, high] = limits(name); return low + share * (high - low); };
  padTo(at($("pad-x").value, (event.clientX - box.left) / box.width),
    at($("pad-y").value, 1 - (event.clientY - box.top) / box.height));
}

/* ---- pins, walks, piles ---- */

async function thumbnail(given, title) {
  const button = document.createElement("button"), image = document.createElement("img");
  button.type = "button";
  image.alt = title;
  button.append(image);
  const blob = await backend.picture(given);
  if (blob) put(image, blob);
  return button;
}
async function pin() {
  const given = copyOf(state);
  pins.push(given);
  const button = await thumbnail(given, "Pinned picture " + pins.length);
  button.addEventListener("click", () => startFrom(startOf(copyOf(given)), copyOf(given.moves)));
  $("pins").append(button);
  $("walk").disabled = pins.length < 2;
}
function walk() {
  const t = Number($("walk").value);
  state = { walk: [copyOf(pins[0]), copyOf(pins[pins.length - 1]), t], moves: {} };
  showSliders();
  refresh();
}
const sorted = new Map(); // button to [pile, state]
let nextSeed = 1000, nextImage = 0;
function piles() {
  const count = kind => [...sorted.values()].filter(([pile]) => pile === kind).length;
  $("piles").textContent = count("with") + " with, " + count("without") + " without";
}
async function offer(states) {
  for (const given of states) {
    const title = given.seed === undefined ? "Image " + given.image : "Sample " + given.seed;
    const button = await thumbnail(given, title);
    const name = kind => button.setAttribute("aria-label", title + (kind ? ", " + kind + " the concept" : ""));
    name("");
    button.addEventListener("click", () => {
      const next = { undefined: "with", with: "without" }[button.dataset.pile];
      if (next) { button.dataset.pile = next; sorted.set(button, [next, given]); }
      else { delete button.dataset.pile; sorted.delete(button); }
      name(next);
      piles();
    });
    $("pile").append(button);
  }
}
async function fit() {
  const pile = kind => [...sorted.values()].filter(([found]) => found === kind).map(([, given]) => given);
  const name = $("vector-name").value.trim();
  $("fitted").textContent = "fitting";
  try {
    const found = await backend.fit({ name, positive: pile("with"), negative: pile("without"), force: false });
    const auc = found.auc === null ? "too few pictures for an AUC" : "AUC " + found.auc.toFixed(3);
    $("fitted").textContent = [found.name + ": " + auc, found.advice].filter(Boolean).join("; ");
    model = await backend.describe();
    drawSliders();
    started();
  } catch (error) { $("fitted").textContent = error.message; }
}

/* ---- files ---- */

async function open(file) {
  if (!file) return;
  showStatus("opening " + file.name);
  try {
    const found = await backend.photo(file);
    showStatus("");
    const start = { photo: found.photo };
    if (backend.command && model.faces && !align) start.align = false;
    startFrom(start);
  } catch (error) { showStatus(error.message, true); }
}
function save({ blob, name }) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/* ---- the page ---- */

function listen() {
  const on = (id, event, action) => $(id).addEventListener(event, action);
  on("undo", "click", () => goTo(place - 1));
  on("redo", "click", () => goTo(place + 1));
  on("reset", "click", () => { state.moves = {}; showSliders(); refresh(); commit(); });
  on("compare", "click", () => {
    const pressed = $("compare").getAttribute("aria-pressed") !== "true";
    $("compare").setAttribute("aria-pressed", String(pressed));
    $("without").hidden = $("after").hidden = !pressed;
  });
  on("pin", "click", pin);
  on("download", "click", async () => {
    try { save(await backend.download(state)); } catch (error) { showStatus(error.message, true); }
  });
  on("latents", "click", async () => {
    try { save(await backend.latents(state)); } catch (error) { showStatus(error.message, true); }
  });
  on("copy", "click", async () => {
    try {
      await navigator.clipboard.writeText($("command").textContent);
      showStatus("the command was copied");
    } catch (error) { showStatus("the browser did not let the command be copied; select it", true); }
  });
  on("seed", "change", () => startFrom({ seed: Math.max(0, Math.floor(Number($("seed").value)) || 0) }));
  on("random", "click", () => startFrom({ seed: Math.floor(Math.random() * (model.seeds || 1000000)) }));
  on("file", "change", () => open($("file").files[0]));
  on("align", "change", () => {
    align = $("align").checked;
    if (state.photo) startFrom(align ? { photo: state.photo } : { photo: state.photo, align: false });
  });
  on("further", "change", shade);
  on("pad-x", "change", showPad);
  on("pad-y", "change", showPad);
  let dragging = false;
  on("pad", "pointerdown", event => { dragging = true; $("pad").setPointerCapture(event.pointerId); padEvent(event); });
  on("pad", "pointermove", event => { if (dragging) padEvent(event); });
  on("pad", "pointerup", () => { dragging = false; commit(); });
  on("pad", "keydown", event => {
    const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
    if (!step) return;
    event.preventDefault();
    padTo((state.moves[$("pad-x").value] || 0) + step[0], (state.moves[$("pad-y").value] || 0) + step[1]);
    commit();
  });
  on("map", "click", async () => {
    const frame = $("map-dialog").querySelector("iframe");
    $("map-dialog").showModal();
    if (!frame.srcdoc) frame.srcdoc = await backend.map();
  });
  on("map-close", "click", () => $("map-dialog").close());
  window.addEventListener("message", event => {
    if (event.source !== $("map-dialog").querySelector("iframe").contentWindow) return;
    const image = event.data && event.data.image;
    if (!Number.isInteger(image) || image < 0 || image >= model.mapped) return;
    $("map-dialog").close();
    startFrom({ image });
  });
  on("walk", "input", walk);
  on("walk", "change", commit);
  on("more", "click", () => { offer(Array.from({ length: 12 }, () => ({ seed: nextSeed++, moves: {} }))); });
  on("folder", "click", () => {
    const count = Math.min(12, model.images - nextImage);
    offer(Array.from({ length: count }, () => ({ image: nextImage++, moves: {} })));
  });
  on("fit", "click", fit);
  document.addEventListener("keydown", event => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || event.target.type === "text") return;
    event.preventDefault();
    goTo(place + (event.shiftKey ? 1 : -1));
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, event => {
      event.preventDefault();
      document.body.classList.toggle("dropping", name === "dragover");
      if (name === "drop") open(event.dataTransfer.files[0]);
    });
  }
}
async function main() {
  try {
    backend = window.latentcliBackend ? await window.latentcliBackend() : serverBackend();
    model = await backend.describe();
  } catch (error) { showStatus(error.message, true); return; }
  document.body.classList.toggle("static", !backend.command);
  document.title = $("title").textContent = "latentcli: " + model.name;
  for (const part of document.querySelectorAll(".faces")) part.hidden = !model.faces;
  $("folder").hidden = !model.images;
  $("map").hidden = !model.mapped;
  if (model.seeds) $("seed").max = model.seeds - 1;
  for (const image of document.querySelectorAll("#view img")) image.classList.toggle("pixels", model.width <= 32);
  if (!model.vectors.some(vector => vector.labelled)) {
    showStatus("this model has no vectors yet; make one below, or with: latentcli vectors fit");
  }
  listen();
  drawSliders();
  startFrom({ seed: 0 }, {});
}
main();
