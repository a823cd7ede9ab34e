"use strict";
/* The backend of the page that `latentcli explore --static` writes: the decoder and the encoder run in the page, by
   ONNX Runtime Web, and nothing is asked of any network. */

window.latentcliBackend = async function () {
  const unpack = async id => {
    const text = atob(document.getElementById(id).textContent.trim());
    const packed = Uint8Array.from(text, letter => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  const model = JSON.parse(document.getElementById("model").textContent);
  const code = new TextDecoder().decode(await unpack("runtime"));
  const ort = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  ort.env.wasm.wasmBinary = (await unpack("wasm")).buffer;
  ort.env.wasm.numThreads = 1;
  const options = { executionProviders: ["wasm"] };
  const shared = await unpack("shared");
  const network = async id => { // with what both networks share put back where it was cut out
    const bytes = await unpack(id), at = model.cuts[id];
    const whole = new Uint8Array(bytes.length + shared.length);
    whole.set(bytes.subarray(0, at));
    whole.set(shared, at);
    whole.set(bytes.subarray(at), at + shared.length);
    return ort.InferenceSession.create(whole, options);
  };
  const decoder = await network("decoder");
  let encoder = null;
  const numbers = new Float32Array((await unpack("numbers")).buffer);
  const d = model.dimensions, seeds = model.seeds, hasAlpha = model.channels === 2 || model.channels === 4;
  const latents = seed => numbers.subarray(seed * d, (seed + 1) * d);
  const direction = index => numbers.subarray((seeds + index) * d, (seeds + index + 1) * d);
  const index = new Map(model.vectors.map((vector, number) => [vector.name, number]));
  const photos = new Map();

  function start(state) {
    if (state.seed !== undefined) {
      if (state.seed >= seeds) throw new Error("this page holds the samples 0 to " + (seeds - 1));
      return Float32Array.from(latents(state.seed));
    }
    if (state.image !== undefined) return Float32Array.from(direction(model.vectors.length + state.image));
    if (state.photo !== undefined) return Float32Array.from(photos.get(state.photo));
    const [from, to, t] = state.walk;
    const first = latent(from), last = latent(to);
    return first.map((value, i) => {
      const way = last[i] - value;
      return t < 0.5 ? value + t * way : last[i] - (1 - t) * way;
    });
  }
  function latent(state) {
    const z = start(state);
    for (const [name, strength] of Object.entries(state.moves || {})) {
      const v = direction(index.get(name));
      for (let i = 0; i < d; i++) z[i] += strength * v[i];
    }
    return z;
  }
  async function picture(state) {
    const z = new ort.Tensor("float32", latent(state), [1, d]);
    const { images } = await decoder.run({ z });
    const { width, height, channels } = model, size = width * height, from = images.data;
    const pixels = new Uint8ClampedArray(4 * size);
    const colours = hasAlpha ? channels - 1 : channels;
    for (let i = 0; i < size; i++) {
      const alpha = hasAlpha ? Math.min(1, Math.max(0, from[colours * size + i])) : 1;
      for (let c = 0; c < 3; c++) {
        const value = from[Math.min(c, colours - 1) * size + i];
        pixels[4 * i + c] = alpha * 255 >= 0.5 ? Math.round(255 * Math.min(1, Math.max(0, value / alpha))) : 0;
      }
      pixels[4 * i + 3] = Math.round(255 * alpha);
    }
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
    return new Promise(done => canvas.toBlob(done, "image/png"));
  }
  function cropped(bitmap) { // the largest centred part of the model's shape, or all of it, halved until it is small
    const scale = Math.min(bitmap.width / model.width, bitmap.height / model.height);
    let { width, height } = model.crop === "none" ? bitmap
      : { width: Math.round(model.width * scale), height: Math.round(model.height * scale) };
    let canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const pen = canvas.getContext("2d");
    if (!hasAlpha) {
      pen.fillStyle = model.background;
      pen.fillRect(0, 0, width, height);
    }
    pen.drawImage(bitmap, (width - bitmap.width) / 2, (height - bitmap.height) / 2);
    while (width > model.width || height > model.height) {
      width = Math.max(model.width, Math.ceil(width / 2));
      height = Math.max(model.height, Math.ceil(height / 2));
      const smaller = document.createElement("canvas");
      smaller.width = width;
      smaller.height = height;
      const pen = smaller.getContext("2d");
      pen.imageSmoothingQuality = "high";
      pen.drawImage(canvas, 0, 0, width, height);
      canvas = smaller;
    }
    if (canvas.width !== model.width || canvas.height !== model.height) {
      const exact = document.createElement("canvas");
      exact.width = model.width;
      exact.height = model.height;
      exact.getContext("2d").drawImage(canvas, 0, 0, model.width, model.height);
      canvas = exact;
    }
    return canvas.getContext("2d").getImageData(0, 0, model.width, model.height).data;
  }
  async function photo(file) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(file);
    } catch (error) { throw new Error(file.name + " is no picture that this browser can read"); }
    const pixels = cropped(bitmap), { width, height, channels } = model, size = width * height;
    const colours = hasAlpha ? channels - 1 : channels;
    const x = new Float32Array(channels * size);
    for (let i = 0; i < size; i++) {
      const alpha = pixels[4 * i + 3] / 255;
      const shown = [0, 1, 2].map(c => pixels[4 * i + c] / 255 * alpha);
      if (colours === 1) x[i] = 0.299 * shown[0] + 0.587 * shown[1] + 0.114 * shown[2];
      else for (let c = 0; c < 3; c++) x[c * size + i] = shown[c];
      if (hasAlpha) x[colours * size + i] = alpha;
    }
    encoder = encoder || await network("encoder");
    const { z } = await encoder.run({ images: new ort.Tensor("float32", x, [1, channels, height, width]) });
    const name = "photo" + photos.size;
    photos.set(name, Float32Array.from(z.data));
    return { photo: name, name: file.name, width: bitmap.width, height: bitmap.height };
  }
  return {
    describe: async () => model,
    async start(state) {
      const z = start(state), ranges = {};
      model.vectors.forEach((vector, number) => {
        const v = direction(number), length = Math.hypot(...v);
        let score = 0;
        for (let i = 0; i < d; i++) score += z[i] * v[i] / length;
        ranges[vector.name] = [Math.min(0, (vector.low - score) / length), Math.max(0, (vector.high - score) / length)];
      });
      const notes = state.photo === undefined ? [] : ["the centre of the photo, at the size of the model"];
      return { ranges, notes };
    },
    picture,
    photo,
    map: async () => new TextDecoder().decode(await unpack("map-page")),
    download: async state => ({ blob: await picture(state), name: "picture.png" }),
  };
};
