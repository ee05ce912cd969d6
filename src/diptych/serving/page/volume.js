// Arrays (height, width, channels) or (values), and windows that move over them.

export function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

// One map of an array as an array of its own; a flat array is one row.
export function mapOf({ shape, values }, channel = 0) {
  const [height, width, channels] = shape.length === 3 ? shape : [1, shape[0], 1];
  return {
    height, width,
    values: Float32Array.from({ length: height * width }, (_, i) => values[i * channels + channel]),
  };
}

// Where a layer's window lies for a pixel of its output: padding `same` puts an odd pixel at the
// bottom and the right.
export function windowAt(layer, shape, [y, x]) {
  const [height, width] = layer.kernel ?? layer.size;
  const stride = layer.stride ?? [height, width];
  const [top, left] = padding(layer, shape);
  return { top: y * stride[0] - top, left: x * stride[1] - left, height, width };
}

// Pixels that `same` adds: top, left, bottom, right.
export function padding(layer, shape) {
  if (layer.padding !== "same") return [0, 0, 0, 0];
  const window = layer.kernel ?? layer.size;
  const stride = layer.stride ?? window;
  const totals = [0, 1].map((axis) =>
    Math.max((Math.ceil(shape[axis] / stride[axis]) - 1) * stride[axis] + window[axis] - shape[axis], 0));
  const before = totals.map((total) => total >> 1);
  return [before[0], before[1], totals[0] - before[0], totals[1] - before[1]];
}

// The values of one map under a window, row by row; NaN outside of the image.
export function patch({ shape, values }, channel, window) {
  const [height, width, channels] = shape;
  return Array.from({ length: window.height * window.width }, (_, i) => {
    const y = window.top + Math.floor(i / window.width);
    const x = window.left + (i % window.width);
    const inside = y >= 0 && y < height && x >= 0 && x < width;
    return inside ? values[(y * width + x) * channels + channel] : NaN;
  });
}

// The weights of one filter for one input map, row by row.
export function taps(kernel, channel, filter) {
  const [height, width, channels, filters] = kernel.shape;
  return Array.from({ length: height * width }, (_, i) =>
    kernel.values[(i * channels + channel) * filters + filter]);
}

// One map of a convolution before its activation.
export function convolved(layer, before, { kernel, bias }, filter, [height, width]) {
  const channels = before.shape[2];
  const values = new Float32Array(height * width).fill(bias.values[filter]);
  for (let c = 0; c < channels; c++) {
    const weights = taps(kernel, c, filter);
    for (let i = 0; i < values.length; i++) {
      const under = patch(before, c, windowAt(layer, before.shape, [Math.floor(i / width), i % width]));
      for (let k = 0; k < weights.length; k++) {
        if (!Number.isNaN(under[k])) values[i] += under[k] * weights[k];
      }
    }
  }
  return { height, width, values };
}
