// A picture in the form of the networks' data, as `diptych.data.drawing` makes it: for MNIST the digit
// cropped, scaled into 20×20 and centred by its mass. The names are those of the Python module, which
// says where each number comes from; a test holds the two to each other.

const [SIDE, BOX, CENTRE] = [28, 20, 14];
const [WORKING_SIDE, GLANCE_SIDE, LEAST_CONTRAST] = [1000, 100, 12];
const [EXTENT, SPECK, FRAME] = [0.25, 0.01, 0.6];
const BLANK = "the picture is blank: nothing stands out from its background; " +
  "draw the digit darker or crop closer to it";

export class Unreadable extends Error {}

// `[height][width][channels]` of 0 to 255.
export async function prepared(blob, [height, width, channels], data) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    throw new Unreadable("not a picture that this browser can open; save it as PNG or JPEG");
  }
  const isDigit = data === "mnist" && height === SIDE && width === SIDE && channels === 1;
  const values = isDigit ? digit(grey(bitmap)) : whole(bitmap, height, width, channels, data);
  return Array.from({ length: height }, (_, y) => Array.from({ length: width }, (_, x) =>
    Array.from({ length: channels }, (_, c) => values[(y * width + x) * channels + c])));
}

function digit(picture) {
  const { ink, noise } = inkOf(picture);
  const kept = strokes({ ...picture, values: ink.map((value) => (value > noise ? value : 0)) });
  const cropped = crop(kept, EXTENT * largest(kept.values));
  const high = largest(cropped.values);
  const box = fit({ ...cropped, values: cropped.values.map((value) => value / high) });
  const top = largest(box.values);
  return centred(box).map((value) => Math.min(Math.max(rint((255 * value) / top), 0), 255));
}

// Another data set's picture, resized by the browser; near what Pillow makes of it, not the same.
function whole(bitmap, height, width, channels, data) {
  const pixels = pixelsOf(bitmap, height, width);
  let values = Array.from({ length: height * width }, (_, i) => {
    const [r, g, b, a] = pixels.subarray(4 * i, 4 * i + 4);
    if (channels === 4) return [r, g, b, a];
    const on = (value) => Math.round((value * a) / 255 + 255 - a);
    return channels === 3 ? [on(r), on(g), on(b)] : [Math.round(luma(on(r), on(g), on(b)))];
  }).flat();
  if (data === "fashion-mnist" && channels === 1 && median(border({ height, width, values })) > 127) {
    values = values.map((value) => 255 - value);
  }
  return values;
}

function pixelsOf(bitmap, height, width) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

const luma = (r, g, b) => 0.299 * r + 0.587 * g + 0.114 * b;

// Grey values; transparent parts get what the visible parts are not.
function grey(bitmap) {
  const { width, height } = bitmap;
  const pixels = pixelsOf(bitmap, height, width);
  const [onBlack, opacity] = [new Float64Array(width * height), new Float64Array(width * height)];
  for (let i = 0; i < width * height; i++) {
    opacity[i] = pixels[4 * i + 3] / 255;
    onBlack[i] = luma(pixels[4 * i], pixels[4 * i + 1], pixels[4 * i + 2]) * opacity[i];
  }
  const behind = sum(onBlack) / Math.max(sum(opacity), 1e-6) < 127.5 ? 255 : 0;
  const values = onBlack.map((value, i) => value + behind * (1 - opacity[i]));
  return reduced({ height, width, values }, WORKING_SIDE);
}

// Averaged over squares so that the longer side is at most `side`, as Pillow's `reduce`.
function reduced(picture, side) {
  const factor = Math.ceil(Math.max(picture.height, picture.width) / side);
  if (factor === 1) return picture;
  const [tall, wide] = [Math.min(factor, picture.height), Math.min(factor, picture.width)];
  const [height, width] = [Math.ceil(picture.height / tall), Math.ceil(picture.width / wide)];
  const values = Float64Array.from({ length: height * width }, (_, i) => {
    const [top, left] = [Math.floor(i / width) * tall, (i % width) * wide];
    let [total, count] = [0, 0];
    for (let y = top; y < Math.min(top + tall, picture.height); y++) {
      for (let x = left; x < Math.min(left + wide, picture.width); x++, count++) {
        total += picture.values[y * picture.width + x];
      }
    }
    return total / count;
  });
  return { height, width, values };
}

function inkOf(picture) {
  const paper = paperOf(picture);
  const difference = picture.values.map((value, i) => value - paper[i]);
  const noise = 4 * 1.4826 * median(border({ ...picture, values: difference }).map(Math.abs));
  const beyond = (sign) => difference.reduce((total, value) => total + Math.max(sign * value - noise, 0), 0);
  const sign = beyond(1) > beyond(-1) ? 1 : -1;
  const ink = difference.map((value) => Math.max(sign * value, 0));
  if (largest(ink) < 1.5 * noise || largest(reduced({ ...picture, values: ink }, GLANCE_SIDE).values) < LEAST_CONTRAST) {
    throw new Unreadable(BLANK);
  }
  return { ink, noise };
}

// The background's grey at each pixel: a plane through the border, whatever lies on it.
function paperOf(picture) {
  const { height, width, values } = picture;
  const along = (size, i) => (size === 1 ? -1 : -1 + (2 * i) / (size - 1));
  const numbers = Float64Array.from(values, (_, i) => i);
  const at = border({ ...picture, values: numbers });
  const terms = (i) => [1, along(width, i % width), along(height, Math.floor(i / width))];
  const height_of = (plane, i) => terms(i).reduce((total, term, k) => total + term * plane[k], 0);
  let plane = [median(at.map((i) => values[i])), 0, 0];
  for (let round = 0; round < 5; round++) {
    const errors = at.map((i) => Math.abs(values[i] - height_of(plane, i)));
    const limit = Math.max(3 * median(errors), 2);
    plane = leastSquares([...at].filter((_, k) => errors[k] <= limit).map((i) => [terms(i), values[i]])) ?? plane;
  }
  return numbers.map((i) => height_of(plane, i));
}

// The three coefficients that fit best, by the normal equations; null where the points leave it open.
function leastSquares(points) {
  const rows = [0, 1, 2].map((i) => [
    ...[0, 1, 2].map((j) => points.reduce((total, [terms]) => total + terms[i] * terms[j], 0)),
    points.reduce((total, [terms, value]) => total + terms[i] * value, 0)]);
  for (let i = 0; i < 3; i++) {
    const pivot = [i, i + 1, i + 2].filter((k) => k < 3)
      .reduce((best, k) => (Math.abs(rows[k][i]) > Math.abs(rows[best][i]) ? k : best), i);
    [rows[i], rows[pivot]] = [rows[pivot], rows[i]];
    if (Math.abs(rows[i][i]) < 1e-9) return null;
    for (let k = 0; k < 3; k++) {
      if (k === i) continue;
      const share = rows[k][i] / rows[i][i];
      for (let j = i; j < 4; j++) rows[k][j] -= share * rows[i][j];
    }
  }
  return rows.map((row, i) => row[3] / row[i]);
}

// The pixels of a frame, a twentieth of the picture wide.
function border({ height, width, values }) {
  const frame = Math.max(1, Math.floor(Math.min(height, width) / 20));
  return Float64Array.from([...values.keys()].filter((i) => {
    const [y, x] = [Math.floor(i / width), i % width];
    return y < frame || y >= height - frame || x < frame || x >= width - frame;
  }), (i) => values[i]);
}

// The ink without dirt and without a frame drawn around the picture.
function strokes({ height, width, values }) {
  const { spots, count } = labelled({ height, width, values });
  const [mass, outside] = [new Float64Array(count + 1), new Float64Array(count + 1)];
  let outermost = 0;
  spots.forEach((spot, i) => {
    mass[spot] += values[i];
    const [y, x] = [Math.floor(i / width), i % width];
    if (y === 0 || y === height - 1 || x === 0 || x === width - 1) {
      outside[spot]++;
      outermost++;
    }
  });
  outside.forEach((length, spot) => {
    if (spot === 0 || length > FRAME * outermost) mass[spot] = 0;
  });
  const high = largest(mass);
  if (!high) throw new Unreadable(BLANK);
  return { height, width, values: values.map((value, i) => (mass[spots[i]] >= SPECK * high ? value : 0)) };
}

// Pixels that touch, at a side or a corner, get the same number; empty ones 0.
function labelled({ height, width, values }) {
  const spots = new Int32Array(height * width);
  let count = 0;
  for (let start = 0; start < spots.length; start++) {
    if (!values[start] || spots[start]) continue;
    spots[start] = ++count;
    const open = [start];
    while (open.length) {
      const i = open.pop();
      const [y, x] = [Math.floor(i / width), i % width];
      for (let v = Math.max(y - 1, 0); v <= Math.min(y + 1, height - 1); v++) {
        for (let u = Math.max(x - 1, 0); u <= Math.min(x + 1, width - 1); u++) {
          const next = v * width + u;
          if (values[next] && !spots[next]) {
            spots[next] = count;
            open.push(next);
          }
        }
      }
    }
  }
  return { spots, count };
}

function crop({ height, width, values }, least) {
  let [top, bottom, left, right] = [height, -1, width, -1];
  values.forEach((value, i) => {
    if (value <= least) return;
    const [y, x] = [Math.floor(i / width), i % width];
    [top, bottom, left, right] = [Math.min(top, y), Math.max(bottom, y), Math.min(left, x), Math.max(right, x)];
  });
  const [tall, wide] = [bottom - top + 1, right - left + 1];
  return { height: tall, width: wide, values: Float64Array.from({ length: tall * wide },
    (_, i) => values[(top + Math.floor(i / wide)) * width + left + (i % wide)]) };
}

// Scaled so that the longer side is 20, the other in proportion, at least 1.
function fit(ink) {
  const scale = BOX / Math.max(ink.height, ink.width);
  const [height, width] = [ink.height, ink.width].map((size) => Math.max(1, rint(size * scale)));
  const filter = scale < 1 ? box : bicubic;
  const across = resized(ink, width, filter);
  const down = transposed(resized(transposed(across), height, filter));
  return { ...down, values: down.values.map((value) => Math.min(Math.max(value, 0), 1)) };
}

const box = { support: 0.5, at: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) };
const bicubic = { // Keys' kernel with a = -0.5, as in Pillow.
  support: 2,
  at: (x) => {
    const d = Math.abs(x);
    if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
    return d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
  },
};

// Each row resized, with the weights that Pillow's `resize` has.
function resized({ height, width, values }, size, filter) {
  if (size === width) return { height, width, values };
  const scale = width / size;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  const columns = Array.from({ length: size }, (_, x) => {
    const centre = (x + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const end = Math.min(Math.trunc(centre + support + 0.5), width);
    const weights = Array.from({ length: end - first }, (_, i) => filter.at((i + first - centre + 0.5) / stretch));
    const total = sum(weights);
    return { first, weights: weights.map((weight) => weight / total) };
  });
  return { height, width: size, values: Float64Array.from({ length: height * size }, (_, i) => {
    const { first, weights } = columns[i % size];
    const start = Math.floor(i / size) * width + first;
    return weights.reduce((total, weight, k) => total + weight * values[start + k], 0);
  }) };
}

function transposed({ height, width, values }) {
  return { height: width, width: height,
    values: values.map((_, i) => values[(i % height) * width + Math.floor(i / height)]) };
}

// In 28×28, moved by whole pixels so that the centre of mass is at the centre.
function centred({ height, width, values }) {
  const total = sum(values);
  const start = (size, along) => {
    const centre = values.reduce((sofar, value, i) => sofar + value * along(i), 0) / total;
    return Math.min(Math.max(rint(CENTRE - centre), 0), SIDE - size);
  };
  const [top, left] = [start(height, (i) => Math.floor(i / width)), start(width, (i) => i % width)];
  const field = new Float64Array(SIDE * SIDE);
  values.forEach((value, i) => {
    field[(top + Math.floor(i / width)) * SIDE + left + (i % width)] = value;
  });
  return field;
}

// Rounded, halves to the even number.
function rint(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 ? low + 1 : low;
}

const sum = (values) => values.reduce((a, b) => a + b, 0);
const largest = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);

function median(values) {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
