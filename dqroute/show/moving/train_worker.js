// A cosine softmax classifier, trained on features of photographs in a worker. No function here knows of the page.

// Training images of each class, head first: n_c = floor(n_1 · ρ^(-c / (C - 1))), as dqroute.core.long_tail has it.
function profile(most, classes, imbalance) {
  return Array.from({ length: classes }, (_, c) => Math.floor(most * (1 / imbalance) ** (c / (classes - 1)) + 1e-9));
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

  const look = (by) => tested(asked, testLabels, unit.subarray(0, size), classes, dims, scale, logPrior, by);

  for (let epoch = 1; epoch <= epochs; epoch++) {
    const weights = classWeights(counts, rarity, gamma, hard);
    const [entropy, right] = [new Array(classes).fill(0), new Array(classes).fill(0)];
    const order = shuffled(kept.length, random);
    const pause = Math.ceil(order.length / batch / looks) * batch;
    for (let start = 0; start < order.length; start += batch) {
      normalise(weight, unit, lengths, dims);
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
      const rate = 0.5 * peak * (1 + Math.cos((Math.PI * step++) / steps));
      adam(weight, unit, lengths, slope, mean, square, dims, rate, step);
      if (end % pause || end === order.length) continue;
      normalise(weight, unit, lengths, dims);
      yield { epoch, accuracy: look([0])[0] };
    }
    normalise(weight, unit, lengths, dims);
    const share = (sums) => sums.map((sum, c) => sum / counts[c]);
    if (gamma) hard = difficulty(share(entropy), share(right));
    if (epoch < epochs) yield { epoch, accuracy: look([0])[0] };
  }
  const curve = look([0, ...shifts]);
  yield { done: true, accuracy: curve[0], curve: curve.slice(1), hard, counts };
}

// What the worker is told; the last begins.
const TRAINER = [...SOFTMAX, profile, tested, classWeights, train];
