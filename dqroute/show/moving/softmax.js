// A cosine softmax classifier as figures train it in a worker, and rank correlations. Nothing here knows of the page.

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

// Trains sets of class vectors, [sets · C · D], on rows of `pictures`: those that `kept` names, of the classes `label`;
// set `out[k]` never learns from the k-th. The loss is w_y CE(scale · cos + τ log π, y) with class weights of `weigh()`,
// by Adam with a rate that falls along a cosine. `watch(set, k, logits)` sees what each set says, its own images or not.
// Yields { epoch, unit, whole } after every epoch and, with `looks` of them an epoch, on the way.
function* trained({ pictures, kept, label, out, sets, dims, logPrior, tau, weigh, watch, looks = 1, ...how }) {
  const { epochs, batch, peak, scale, seed } = how;
  const classes = logPrior.length;
  const random = randomNumbers(seed);
  const weight = Float32Array.from({ length: sets * classes * dims }, () => {
    const far = Math.sqrt(-2 * Math.log(1 - random()));
    return (far * Math.cos(2 * Math.PI * random())) / Math.sqrt(dims);
  });
  const [unit, slope, mean, square] = [0, 0, 0, 0].map(() => new Float32Array(weight.length));
  const lengths = new Float32Array(sets * classes);
  const [logits, chance] = [new Float32Array(classes), new Float32Array(classes)];
  const steps = epochs * Math.ceil(kept.length / batch);
  let step = 0;
  for (let epoch = 1; epoch <= epochs; epoch++) {
    const [weights, order] = [weigh(), shuffled(kept.length, random)];
    const pause = Math.ceil(order.length / batch / looks) * batch;
    for (let start = 0; start < order.length; start += batch) {
      const end = Math.min(start + batch, order.length);
      normalise(weight, unit, lengths, dims);
      slope.fill(0);
      for (let k = start; k < end; k++) {
        const image = order[k];
        const [at, own] = [kept[image] * dims, label[image]];
        for (let set = 0; set < sets; set++) {
          if (set === out[image] && !watch) continue;
          logitsOf(pictures, at, unit, set * classes, (set + 1) * classes, dims, scale, logits);
          watch?.(set, image, logits);
          if (set === out[image]) continue;
          softmax(logits, logPrior, tau, chance);
          for (let c = 0; c < classes; c++) {
            // Most of it: classes that are out of the question hardly move.
            if (chance[c] < 1e-4 && c !== own) continue;
            const g = (scale * weights[own] * (chance[c] - (c === own))) / (end - start);
            addTimes(g, pictures, at, slope, (set * classes + c) * dims, dims);
          }
        }
      }
      const rate = 0.5 * peak * (1 + Math.cos((Math.PI * step++) / steps));
      adam(weight, unit, lengths, slope, mean, square, dims, rate, step);
      if (end < order.length && end % pause) continue;
      normalise(weight, unit, lengths, dims);
      yield { epoch, unit, whole: end === order.length };
    }
  }
}

// −Σ p log p of a softmax.
function entropyOf(chance) {
  let sum = 0;
  for (const p of chance) if (p > 0) sum -= p * Math.log(p);
  return sum;
}

// Ranks from 0, those of equals averaged.
function ranks(values) {
  return Array.from(values, (v) => values.reduce((sum, w) => sum + (w < v) + (w === v) / 2, -0.5));
}

// Spearman's correlation.
function correlation(first, second) {
  const [a, b] = [ranks(first), ranks(second)].map((rank) => rank.map((r) => r - (rank.length - 1) / 2));
  const product = (x, y) => x.reduce((sum, value, c) => sum + value * y[c], 0);
  return product(a, b) / Math.sqrt(product(a, a) * product(b, b) || 1);
}

// What a training gives `dq.work`, before functions of its own.
const SOFTMAX = [randomNumbers, shuffled, unitRows, logitsOf, softmax, highest, difficulty, normalise, adam, addTimes];
SOFTMAX.push(trained, entropyOf);
