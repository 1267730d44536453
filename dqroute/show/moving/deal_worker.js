// A cosine softmax classifier on a world of characters that the page has dealt, and beside it one for each fold, which
// never sees it. No function here knows of the page.

// Trains, and yields after every epoch { epoch, judged, right, error }: the difficulty of each class, judged on training
// images and out of fold; the shares of training images that are named right, by the same judges; test errors by class.
// Images stand in order of their classes, as many of each; of the pool a world takes the first `counts[c]`.
function* dealt({ pool, test, dims, counts, folds = 5, epochs = 20, batch = 64, peak = 0.006, scale = 20, seed = 1 }) {
  const classes = counts.length;
  const [most, asked] = [pool.length / dims / classes, test.length / dims / classes];
  const random = randomNumbers(seed);
  const [pictures, tested] = [unitRows(pool, dims), unitRows(test, dims)];
  const kept = counts.flatMap((n, c) => Array.from({ length: n }, (_, k) => c * most + k));
  const label = kept.map((image) => Math.floor(image / most));
  const [size, sets] = [classes * dims, folds + 1];
  const logPrior = counts.map((n) => Math.log(n / kept.length));
  // Set 0 sees all images; those of fold f are dealt like cards, and set f + 1 never sees them.
  const judge = kept.map((_, k) => 1 + (k % folds));
  const weight = Float32Array.from({ length: sets * size }, () => {
    const far = Math.sqrt(-2 * Math.log(1 - random()));
    return (far * Math.cos(2 * Math.PI * random())) / Math.sqrt(dims);
  });
  const [unit, slope, mean, square] = [0, 0, 0, 0].map(() => new Float32Array(sets * size));
  const lengths = new Float32Array(sets * classes);
  const z = new Float32Array(classes);
  const p = new Float32Array(classes);
  const steps = epochs * Math.ceil(kept.length / batch);
  let [step, smoothed] = [0, null];
  for (let epoch = 1; epoch <= epochs; epoch++) {
    const order = shuffled(kept.length, random);
    for (let start = 0; start < order.length; start += batch) {
      const end = Math.min(start + batch, order.length);
      normalise(weight, unit, lengths, dims);
      slope.fill(0);
      for (let k = start; k < end; k++) {
        const [at, own] = [kept[order[k]] * dims, label[order[k]]];
        for (let set = 0; set < sets; set++) {
          if (set === judge[order[k]]) continue;
          logitsOf(pictures, at, unit, set * classes, (set + 1) * classes, dims, scale, z);
          softmax(z, logPrior, 1, p);
          for (let c = 0; c < classes; c++) {
            const g = (scale * (p[c] - (c === own))) / (end - start);
            // What hardly moves a weight is most of it.
            if (Math.abs(g) < 1e-4) continue;
            addTimes(g, pictures, at, slope, (set * classes + c) * dims, dims);
          }
        }
      }
      const rate = 0.5 * peak * (1 + Math.cos((Math.PI * step++) / steps));
      adam(weight, unit, lengths, slope, mean, square, dims, rate, step);
    }
    normalise(weight, unit, lengths, dims);
    const judged = [(_) => 0, (k) => judge[k]].map((who) => {
      const [entropy, right] = [0, 0].map(() => new Array(classes).fill(0));
      kept.forEach((image, k) => {
        const set = who(k);
        logitsOf(pictures, image * dims, unit, set * classes, (set + 1) * classes, dims, scale, z);
        softmax(z, logPrior, 0, p);
        for (const q of p) if (q > 0) entropy[label[k]] -= (q * Math.log(q)) / counts[label[k]];
        right[label[k]] += highest(z, logPrior, 0) === label[k];
      });
      return { entropy, right };
    });
    // A_c ← 0.7 A_c + 0.3 accuracy, as the tracker of the package.
    const now = judged.map(({ right }) => right.map((r, c) => r / counts[c]));
    smoothed = smoothed ? smoothed.map((old, j) => old.map((a, c) => 0.7 * a + 0.3 * now[j][c])) : now;
    const error = counts.map((_, c) => {
      let wrong = 0;
      for (let k = c * asked; k < (c + 1) * asked; k++) {
        logitsOf(tested, k * dims, unit, 0, classes, dims, scale, z);
        wrong += highest(z, logPrior, 0) !== c;
      }
      return wrong / asked;
    });
    yield {
      epoch,
      error,
      judged: judged.map(({ entropy }, j) => difficulty(entropy, smoothed[j])),
      right: judged.map(({ right }) => right.reduce((sum, r) => sum + r, 0) / kept.length),
    };
  }
}
