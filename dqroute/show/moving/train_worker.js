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
  const counts = profile(starts[1] - starts[0], classes, imbalance);
  const asked = unitRows(test, dims);
  // A class's images are in random order on the page: a smaller profile takes the first of them.
  const kept = counts.flatMap((n, c) => Array.from({ length: n }, (_, k) => starts[c] + k));
  const label = kept.map((image) => labels[image]);
  const out = kept.map((image, k) => (folds ? 1 + ((image - starts[label[k]]) % folds) : -1));
  const logPrior = counts.map((n) => Math.log(n / kept.length));
  const chance = new Float32Array(classes);
  const none = new Array(classes).fill(0);
  let [hard, entropy, right] = [none, [...none], [...none]];

  // Who judges an image: the set that is not trained on it, or the only one.
  const watch = (set, k, logits) => {
    if (folds && set !== out[k]) return;
    softmax(logits, logPrior, 0, chance);
    entropy[label[k]] += entropyOf(chance) / counts[label[k]];
    right[label[k]] += (highest(logits, logPrior, 0) === label[k]) / counts[label[k]];
  };
  const told = { pictures: unitRows(train, dims), kept, label, out, sets: folds + 1, dims, logPrior, tau, looks };
  const how = { epochs, batch, peak, scale, seed, watch: gamma ? watch : null };
  const weigh = () => classWeights(counts, rarity, gamma, hard);
  for (const { epoch, unit, whole } of trained({ ...told, ...how, weigh })) {
    const look = (by) => tested(asked, testLabels, unit.subarray(0, classes * dims), classes, dims, scale, logPrior, by);
    if (whole && gamma) [hard, entropy, right] = [difficulty(entropy, right), [...none], [...none]];
    const done = whole && epoch === epochs;
    const [accuracy, ...curve] = look(done ? [0, ...shifts] : [0]);
    yield done ? { done, accuracy, curve, hard, counts } : { epoch, accuracy };
  }
}

// What the worker is told; the last begins.
const TRAINER = [...SOFTMAX, profile, tested, classWeights, train];
