// A cosine softmax classifier on a world of characters that the page has dealt, and beside it one for each fold, which
// never sees it. No function here knows of the page.

// Trains, and yields after every epoch { epoch, judged, right, error }: the difficulty of each class, judged on training
// images and out of fold; the shares of training images that are named right, by the same judges; test errors by class.
// Images stand in order of their classes, as many of each; of the pool a world takes the first `counts[c]`.
function* dealt({ pool, test, dims, counts, folds = 5, epochs = 20, batch = 64, peak = 0.006, scale = 20, seed = 1 }) {
  const classes = counts.length;
  const [most, asked] = [pool.length / dims / classes, test.length / dims / classes];
  const [pictures, tested] = [unitRows(pool, dims), unitRows(test, dims)];
  const kept = counts.flatMap((n, c) => Array.from({ length: n }, (_, k) => c * most + k));
  const label = kept.map((image) => Math.floor(image / most));
  const logPrior = counts.map((n) => Math.log(n / kept.length));
  // Set 0 sees all images; those of fold f are dealt like cards, and set f + 1 never sees them.
  const out = kept.map((_, k) => 1 + (k % folds));
  const weigh = () => counts.map(() => 1);
  const [z, p] = [new Float32Array(classes), new Float32Array(classes)];
  const told = { pictures, kept, label, out, sets: folds + 1, dims, logPrior, tau: 1, weigh };
  let smoothed = null;
  for (const { epoch, unit } of trained({ ...told, epochs, batch, peak, scale, seed })) {
    const ask = (rows, k, set) => logitsOf(rows, k * dims, unit, set * classes, (set + 1) * classes, dims, scale, z);
    const judged = [() => 0, (k) => out[k]].map((who) => {
      const [entropy, right] = [0, 0].map(() => new Array(classes).fill(0));
      kept.forEach((image, k) => {
        ask(pictures, image, who(k));
        softmax(z, logPrior, 0, p);
        entropy[label[k]] += entropyOf(p) / counts[label[k]];
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
        ask(tested, k, 0);
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
