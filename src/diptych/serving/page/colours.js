// Colours that stay apart for colour-blind eyes: cividis (Nuñez, Anderton & Renslow, 2018) for maps,
// blue and orange for weights below and above zero.

const CIVIDIS = [
  [0, 34, 78], [18, 53, 112], [59, 73, 107], [87, 92, 109], [112, 113, 115],
  [138, 134, 120], [165, 156, 116], [195, 179, 105], [225, 204, 85], [254, 232, 56],
];

function between(stops, share) {
  const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2);
  return stops[low].map((value, i) => value + (stops[low + 1][i] - value) * (at - low));
}

const TABLE = Array.from({ length: 256 }, (_, i) => between(CIVIDIS, i / 255));

export const grey = (share) => Array(3).fill(255 * share);
export const map = (share) => TABLE[Math.round(255 * Math.min(Math.max(share, 0), 1))];
export const weight = (value) =>
  between([[0, 114, 178], [247, 247, 247], [213, 94, 0]], (value + 1) / 2);

// Draws height × width shares of a range into a canvas, a pixel each.
export function paint(canvas, height, width, valueAt, colourOf) {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0, at = 0; i < height * width; i++) {
    const [red, green, blue] = colourOf(valueAt(i));
    image.data[at++] = red;
    image.data[at++] = green;
    image.data[at++] = blue;
    image.data[at++] = 255;
  }
  context.putImageData(image, 0, 0);
}
