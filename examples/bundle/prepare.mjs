// Prepare a camera frame for a bundle without any library: rule "sampled-area" of docs/bundle.md.
// A frame is {data, height, width, channels}: data is a Uint8Array of height × width × channels bytes, row by row,
// blue first; channels is 3, or 1 if the bundle's color is "mono".

/** Crop and resize one frame; return the bundle's input for it, preprocess.height × preprocess.width × 3 bytes. */
export function prepare(frame, preprocess) {
  const { height, width, region, golden_hw: golden } = preprocess; // earlier bundles have no golden_hw
  if (region && golden && (frame.height !== golden[0] || frame.width !== golden[1]))
    throw new RangeError(`the frame has ${frame.width}×${frame.height} px, the golden images ${golden[1]}×${golden[0]}`);
  const small = resize(region ? crop(frame, region) : frame, height, width);
  if (small.channels === 3) return small.data;
  return Uint8Array.from({ length: height * width * 3 }, (_, i) => small.data[Math.floor(i / 3)]);
}

function crop({ data, height: rows, width: columns, channels }, { x, y, width, height }) {
  if (y + height > rows || x + width > columns) throw new RangeError("the frame is smaller than the bundle's region");
  const out = new Uint8Array(height * width * channels);
  for (let row = 0; row < height; row++) {
    const start = ((y + row) * columns + x) * channels;
    out.set(data.subarray(start, start + width * channels), row * width * channels);
  }
  return { data: out, height, width, channels };
}

/** Resize a frame to height × width pixels. */
export function resize(frame, height, width) {
  const { height: rows, width: columns } = frame;
  if (rows % 2 === 0 && columns % 2 === 0 && rows >= 4 * height && columns >= 4 * width)
    return resize(bilinear(frame, rows / 2, columns / 2), height, width); // means of 2×2 pixels
  if (rows < height || columns < width) return bilinear(frame, height, width);
  if (rows < 2 * height || columns < 2 * width) return area(frame, height, width);
  let out = bilinear(frame, height * samples(rows / height), width * samples(columns / width));
  while (out.height > height || out.width > width)
    out = bilinear(out, Math.max(out.height >> 1, height), Math.max(out.width >> 1, width));
  return out;
}

const samples = (ratio) => 2 ** Math.max(1, Math.floor(Math.log2(ratio / 1.1)));

// For each pixel of the result along one axis: index of the pixel before its centre, and weight of the next, of 2048.
function positions(size, count) {
  return Array.from({ length: count }, (_, i) => {
    const centre = Math.fround((i + 0.5) * (size / count) - 0.5);
    const before = Math.floor(centre);
    return [before, halfToEven((centre - before) * 2048)];
  });
}

function bilinear({ data, height: rows, width: columns, channels }, height, width) {
  const out = new Uint8Array(height * width * channels);
  const across = positions(columns, width).map(([left, weight]) => {
    const isInside = left >= 0 && left < columns - 1;
    const start = Math.max(left, 0) * channels;
    return isInside ? [start, start + channels, weight] : [start, start, 0];
  });
  let at = 0;
  for (const [above, down] of positions(rows, height)) {
    const top = Math.max(above, 0) * columns * channels;
    const bottom = Math.min(above + 1, rows - 1) * columns * channels;
    for (const [left, right, weight] of across) {
      for (let c = 0; c < channels; c++) {
        const upper = data[top + left + c] * (2048 - weight) + data[top + right + c] * weight;
        const lower = data[bottom + left + c] * (2048 - weight) + data[bottom + right + c] * weight;
        out[at++] = ((((2048 - down) * (upper >> 4)) >> 16) + ((down * (lower >> 4)) >> 16) + 2) >> 2;
      }
    }
  }
  return { data: out, height, width, channels };
}

// For each pixel of the result along one axis: the pixels that it covers, and what share of it each of them is.
function shares(size, count) {
  const ratio = size / count;
  return Array.from({ length: count }, (_, i) => {
    const covered = [];
    for (let j = Math.floor(i * ratio); j < size && j < (i + 1) * ratio; j++) {
      const length = Math.min(j + 1, (i + 1) * ratio) - Math.max(j, i * ratio);
      if (length > 1e-3) covered.push([j, Math.fround(length / ratio)]);
    }
    return covered;
  });
}

function area({ data, height: rows, width: columns, channels }, height, width) {
  const out = new Uint8Array(height * width * channels);
  const across = shares(columns, width);
  let at = 0;
  for (const down of shares(rows, height)) {
    for (const along of across) {
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (const [row, share] of down) {
          let line = 0;
          for (const [column, part] of along)
            line = Math.fround(line + Math.fround(data[(row * columns + column) * channels + c] * part));
          sum = Math.fround(sum + Math.fround(line * share));
        }
        out[at++] = halfToEven(sum);
      }
    }
  }
  return { data: out, height, width, channels };
}

const halfToEven = (value) => Math.round(value) - (value % 2 === 0.5 ? 1 : 0);
