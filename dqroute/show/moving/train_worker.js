// A cosine softmax classifier, trained on features of photographs in a worker. No function here knows of the page.

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

// Training images of each class, head first: n_c = floor(n_1 · ρ^(-c / (C - 1))), as dqroute.core.long_tail has it.
function profile(most, classes, imbalance) {
  return Array.from({ length: classes }, (_, c) => Math.floor(most * (1 / imbalance) ** (c / (classes - 1)) + 1e-9));
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

function addTimes(factor, from, at, to, place, dims) {
  for (let d = 0; d < dims; d++) to[place + d] += factor * from[at + d];
}

function highest(values, shift, by) {
  let best = 0;
  for (let c = 1; c < values.length; c++) if (values[c] + by * shift[c] > values[best] + by * shift[best]) best = c;
  return best;
}

// Share of each class's test images that is named right, %, when logits are moved by some multiples of log π.
function tested(test, labels, unit, classes, dims, scale, logPrior, shifts) {
  const right = shifts.map(() => new Float64Array(classes));
  const images = new Float64Array(classes);
  const logits = new Float32Array(classes);
  labels.forEach((label, k) => {
    logitsOf(test, k * dims, unit, 0, classes, dims, scale, logits);
    images[label]++;
    shifts.forEach((by, s) => (right[s][label] += highest(logits, logPrior, by) === label));
  });
  return right.map((counted) => Array.from(counted, (r, c) => (100 * r) / images[c]));
}

// d_c = H_c / H_max + 1 - A_c / A_max, of class means of entropy and accuracy.
function difficulty(entropy, accuracy) {
  const [most, best] = [Math.max(...entropy) || 1, Math.max(...accuracy) || 1];
  return entropy.map((h, c) => h / most + 1 - accuracy[c] / best);
}

// Class weights of the loss: w_c ∝ n_c^-q exp(γ d_c), of a mean of 1 over training images.
function classWeights(counts, rarity, gamma, hard) {
  const raw = counts.map((n, c) => Math.exp(-rarity * Math.log(n) + gamma * hard[c]));
  const all = counts.reduce((sum, n, c) => sum + n * raw[c], 0);
  const images = counts.reduce((sum, n) => sum + n, 0);
  return raw.map((w) => (w * images) / all);
}

// Trains, and yields after every part of an epoch { epoch, accuracy }; at the end { done, accuracy, curve, hard }.
// `folds` beside the head that predicts are trained without a fold of the images each, and say of those how hard they
// are; with 0 folds the head itself says it, of images that it is trained on.
function* train(input) {
  const { train, labels, starts, test, testLabels, dims, classes, imbalance, tau, rarity, gamma, folds } = input;
  const { epochs = 10, batch = 128, peak = 0.02, scale = 20, seed = 1, shifts = [0], looks = 2 } = input;
  const random = randomNumbers(seed);
  const counts = profile(starts[1] - starts[0], classes, imbalance);
  const pictures = unitRows(train, dims);
  const asked = unitRows(test, dims);
  // A class's images are in random order on the page: a smaller profile takes the first of them.
  const kept = counts.flatMap((n, c) => Array.from({ length: n }, (_, k) => starts[c] + k));
  const foldOf = kept.map((image) => (folds ? (image - starts[labels[image]]) % folds : 0));
  const logPrior = counts.map((n) => Math.log(n / kept.length));
  const [sets, size] = [folds + 1, classes * dims];
  const weight = Float32Array.from({ length: sets * size }, () => {
    const far = Math.sqrt(-2 * Math.log(1 - random()));
    return (far * Math.cos(2 * Math.PI * random())) / Math.sqrt(dims);
  });
  const [unit, slope, mean, square] = [0, 0, 0, 0].map(() => new Float32Array(sets * size));
  const lengths = new Float32Array(sets * classes);
  const [logits, chance] = [new Float32Array(classes), new Float32Array(classes)];
  const steps = epochs * Math.ceil(kept.length / batch);
  let [step, hard] = [0, new Array(classes).fill(0)];

  const normalise = () => {
    for (let row = 0; row < lengths.length; row++) {
      let squares = 0;
      for (let d = row * dims; d < (row + 1) * dims; d++) squares += weight[d] ** 2;
      lengths[row] = Math.sqrt(squares);
      for (let d = row * dims; d < (row + 1) * dims; d++) unit[d] = weight[d] / lengths[row];
    }
  };
  // Adam down the gradient by the class vectors, which a cosine sees at a length of 1 only.
  const update = () => {
    const rate = 0.5 * peak * (1 + Math.cos((Math.PI * step++) / steps));
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
  };
  const look = (by) => tested(asked, testLabels, unit.subarray(0, size), classes, dims, scale, logPrior, by);

  for (let epoch = 1; epoch <= epochs; epoch++) {
    const weights = classWeights(counts, rarity, gamma, hard);
    const [entropy, right] = [new Array(classes).fill(0), new Array(classes).fill(0)];
    const order = shuffled(kept.length, random);
    const pause = Math.ceil(order.length / batch / looks) * batch;
    for (let start = 0; start < order.length; start += batch) {
      normalise();
      slope.fill(0);
      const end = Math.min(start + batch, order.length);
      for (let k = start; k < end; k++) {
        const image = kept[order[k]];
        const [at, label, out] = [image * dims, labels[image], 1 + foldOf[order[k]]];
        for (let set = 0; set < sets; set++) {
          logitsOf(pictures, at, unit, set * classes, (set + 1) * classes, dims, scale, logits);
          // Who judges an image: the set that is not trained on it, or the only one.
          if (gamma && (folds ? set === out : true)) {
            softmax(logits, logPrior, 0, chance);
            for (let c = 0; c < classes; c++) if (chance[c] > 0) entropy[label] -= chance[c] * Math.log(chance[c]);
            right[label] += highest(logits, logPrior, 0) === label;
          }
          if (folds && set === out) continue;
          softmax(logits, logPrior, tau, chance);
          for (let c = 0; c < classes; c++) {
            // Most of it: classes that are out of the question hardly move.
            if (chance[c] < 1e-4 && c !== label) continue;
            const g = (scale * weights[label] * (chance[c] - (c === label))) / (end - start);
            addTimes(g, pictures, at, slope, (set * classes + c) * dims, dims);
          }
        }
      }
      update();
      if (end % pause === 0 && end < order.length) yield (normalise(), { epoch, accuracy: look([0])[0] });
    }
    normalise();
    const share = (sums) => sums.map((sum, c) => sum / counts[c]);
    if (gamma) hard = difficulty(share(entropy), share(right));
    if (epoch < epochs) yield { epoch, accuracy: look([0])[0] };
  }
  const curve = look([0, ...shifts]);
  yield { done: true, accuracy: curve[0], curve: curve.slice(1), hard, counts };
}

// softmax(z + τ log π)
function softmax(logits, logPrior, tau, out) {
  let most = -Infinity;
  for (let c = 0; c < out.length; c++) most = Math.max(most, (out[c] = logits[c] + tau * logPrior[c]));
  let sum = 0;
  for (let c = 0; c < out.length; c++) sum += out[c] = Math.exp(out[c] - most);
  for (let c = 0; c < out.length; c++) out[c] /= sum;
}

// What the worker is told; the last begins.
const TRAINER = [
  ...[randomNumbers, shuffled, profile, unitRows, logitsOf, addTimes, highest, tested, difficulty, classWeights],
  ...[softmax, train],
];
