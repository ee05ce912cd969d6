// What the sliders do to an image: arrays [height][width][channels] of 0 to 255.

// A generator of its own (mulberry32), so that noise and shuffling are the same every time.
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function normal(draw) {
  return Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
}

function moved(image, right, down, degrees) {
  const [height, width, channels] = [image.length, image[0].length, image[0][0].length];
  const [middleY, middleX] = [(height - 1) / 2, (width - 1) / 2];
  const [sin, cos] = [Math.sin, Math.cos].map((f) => f((degrees * Math.PI) / 180));
  const pixel = (y, x, c) => image[y]?.[x]?.[c] ?? 0;
  return Array.from({ length: height }, (_, i) => Array.from({ length: width }, (_, j) => {
    const [dy, dx] = [i - middleY - down, j - middleX - right];
    const [y, x] = [middleY - sin * dx + cos * dy, middleX + cos * dx + sin * dy];
    const [top, left] = [Math.floor(y), Math.floor(x)];
    const [b, r] = [y - top, x - left];
    return Array.from({ length: channels }, (_, c) => Math.round(
      (1 - b) * ((1 - r) * pixel(top, left, c) + r * pixel(top, left + 1, c)) +
      b * ((1 - r) * pixel(top + 1, left, c) + r * pixel(top + 1, left + 1, c))));
  }));
}

function noisy(image, strength) {
  const draw = random(1);
  const add = (value) => Math.round(Math.min(Math.max(value + strength * normal(draw), 0), 255));
  return image.map((row) => row.map((pixel) => pixel.map(add)));
}

function shuffled(image) {
  const [height, width] = [image.length, image[0].length];
  const draw = random(2);
  const pixels = image.flat();
  for (let i = pixels.length - 1; i > 0; i--) {
    const j = Math.floor(draw() * (i + 1));
    [pixels[i], pixels[j]] = [pixels[j], pixels[i]];
  }
  return Array.from({ length: height }, (_, i) => pixels.slice(i * width, (i + 1) * width));
}

// The image with all that is asked for, in this order: moved and turned, noise, shuffled.
export function changed(image, { right, down, turn, noise, shuffle }) {
  let result = image;
  if (right || down || turn) result = moved(result, right, down, turn);
  if (noise) result = noisy(result, noise * 2.55);
  return shuffle ? shuffled(result) : result;
}
