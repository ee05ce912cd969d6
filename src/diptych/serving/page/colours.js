// Colours that stay apart for colour-blind eyes, and mean what they mean in the pictures of
// `diptych look`: cividis (Nuñez, Anderton & Renslow, 2018) for numbers, PuOr (Brewer) for numbers
// with a sign, orange below zero and purple above. Blue and orange (Okabe & Ito) are the workflows'.

const CIVIDIS = [
  [0, 34, 78], [0, 40, 91], [0, 46, 106], [5, 51, 113], [26, 56, 111], [39, 62, 110],
  [50, 67, 109], [59, 73, 108], [67, 78, 108], [75, 84, 108], [83, 90, 109], [90, 95, 110],
  [97, 101, 111], [104, 106, 113], [111, 112, 115], [118, 118, 118], [125, 124, 120], [132, 130, 121],
  [140, 136, 120], [147, 142, 120], [155, 148, 118], [163, 154, 116], [171, 160, 114], [180, 167, 111],
  [188, 174, 108], [196, 180, 104], [205, 187, 99], [213, 194, 94], [222, 201, 88], [231, 209, 80],
  [240, 216, 70], [249, 224, 58], [254, 232, 56],
];

const PUOR = [
  [127, 59, 8], [178, 87, 6], [224, 130, 20], [252, 183, 97], [254, 224, 182], [246, 246, 247],
  [216, 218, 235], [177, 170, 209], [128, 115, 172], [83, 38, 135], [45, 0, 75],
];

function between(stops, share) {
  const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2);
  return stops[low].map((value, i) => value + (stops[low + 1][i] - value) * (at - low));
}

const TABLE = Array.from({ length: 256 }, (_, i) => between(CIVIDIS, i / 255));

export const grey = (share) => Array(3).fill(255 * share);
export const map = (share) => TABLE[Math.round(255 * Math.min(Math.max(share, 0), 1))];
// A number from -1 to 1.
export const signed = (value) => between(PUOR, (value + 1) / 2);

// The colour of a value between the least and the largest of a layer's output.
export const scale = ([low, high]) => (value) => map((value - low) / (high - low || 1));
// The colour of a value with a sign, white at zero.
export const signedScale = ([low, high]) => {
  const limit = Math.max(Math.abs(low), Math.abs(high)) || 1;
  return (value) => signed(value / limit);
};

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
