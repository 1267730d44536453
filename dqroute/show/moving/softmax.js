// A cosine softmax classifier, in pieces that trainings in a worker are made of. No function here knows of the page.

// Numbers in [0, 1) that a seed decides (Marsaglia's xorshift, 32 bits).
function randomNumbers(seed) {
  let state = seed * 2654435761 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4294967296;
  };
}

function shuffled(length, random) {
  const order = Int32Array.from({ length }, (_, k) => k);
  for (let k = length - 1; k > 0; k--) {
    const j = Math.floor(random() * (k + 1));
    [order[k], order[j]] = [order[j], order[k]];
  }
  return order;
}

// Rows of 8-bit features at a length of 1, Float32Array [N · D].
function unitRows(raw, dims) {
  const rows = Float32Array.from(raw);
  for (let at = 0; at < rows.length; at += dims) {
    let squares = 0;
    for (let d = 0; d < dims; d++) squares += rows[at + d] ** 2;
    const length = Math.sqrt(squares) || 1;
    for (let d = 0; d < dims; d++) rows[at + d] /= length;
  }
  return rows;
}

// Logits of a row for classes from..to, into `out`: scale · cos.
function logitsOf(row, at, unit, from, to, dims, scale, out) {
  for (let c = from; c < to; c++) {
    const w = c * dims;
    let a = 0;
    let b = 0;
    let e = 0;
    let f = 0;
    for (let d = 0; d < dims; d += 4) {
      a += row[at + d] * unit[w + d];
      b += row[at + d + 1] * unit[w + d + 1];
      e += row[at + d + 2] * unit[w + d + 2];
      f += row[at + d + 3] * unit[w + d + 3];
    }
    out[c - from] = scale * (a + b + e + f);
  }
}

// softmax(z + τ log π)
function softmax(logits, logPrior, tau, out) {
  let most = -Infinity;
  for (let c = 0; c < out.length; c++) most = Math.max(most, (out[c] = logits[c] + tau * logPrior[c]));
  let sum = 0;
  for (let c = 0; c < out.length; c++) sum += out[c] = Math.exp(out[c] - most);
  for (let c = 0; c < out.length; c++) out[c] /= sum;
}

function highest(values, shift, by) {
  let best = 0;
  for (let c = 1; c < values.length; c++) if (values[c] + by * shift[c] > values[best] + by * shift[best]) best = c;
  return best;
}

// d_c = H_c / H_max + 1 - A_c / A_max, of class means of entropy and accuracy.
function difficulty(entropy, accuracy) {
  const [most, best] = [Math.max(...entropy) || 1, Math.max(...accuracy) || 1];
  return entropy.map((h, c) => h / most + 1 - accuracy[c] / best);
}

// Rows of weights [N · D] at a length of 1 into `unit`, and their lengths.
function normalise(weight, unit, lengths, dims) {
  for (let row = 0; row < lengths.length; row++) {
    let squares = 0;
    for (let d = row * dims; d < (row + 1) * dims; d++) squares += weight[d] ** 2;
    lengths[row] = Math.sqrt(squares);
    for (let d = row * dims; d < (row + 1) * dims; d++) unit[d] = weight[d] / lengths[row];
  }
}

// Step number `step`, from 1, of Adam down the slope by the class vectors, which a cosine sees at a length of 1 only.
function adam(weight, unit, lengths, slope, mean, square, dims, rate, step) {
  const [first, second] = [1 - 0.9 ** step, 1 - 0.999 ** step];
  for (let row = 0; row < lengths.length; row++) {
    let along = 0;
    for (let d = row * dims; d < (row + 1) * dims; d++) along += slope[d] * unit[d];
    for (let d = row * dims; d < (row + 1) * dims; d++) {
      const g = (slope[d] - along * unit[d]) / lengths[row];
      mean[d] = 0.9 * mean[d] + 0.1 * g;
      square[d] = 0.999 * square[d] + 0.001 * g * g;
      weight[d] -= (rate * mean[d]) / first / (Math.sqrt(square[d] / second) + 1e-8);
    }
  }
}

function addTimes(factor, from, at, to, place, dims) {
  for (let d = 0; d < dims; d++) to[place + d] += factor * from[at + d];
}

// What a training gives `dq.work`, before functions of its own.
const SOFTMAX = [randomNumbers, shuffled, unitRows, logitsOf, softmax, highest, difficulty, normalise, adam, addTimes];
