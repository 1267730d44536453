// The formulas of the knob, those of knob.py and of dqroute/measures/worlds.py.
const knob = {
  // Log-probabilities, N times C, of bytes.
  logP(bytes, fine, C) {
    const found = Float32Array.from(bytes, (byte) => -((byte / fine) ** 2));
    for (let i = 0; i < found.length; i += C) {
      let sum = 0;
      for (let c = 0; c < C; c++) sum += Math.exp(found[i + c]);
      const norm = Math.log(sum);
      for (let c = 0; c < C; c++) found[i + c] -= norm;
    }
    return found;
  },

  // How common each class is in a world, of those that have pictures, and the pictures drawn for it.
  world({ place, imbalance, labels }, world) {
    const counts = new Float64Array(place.length);
    for (const y of labels) counts[y] += 1;
    const tilt = (world * Math.log(imbalance)) / Math.max(1, place.length - 1);
    const top = Math.max(0, tilt * (place.length - 1));
    const ratio = Float64Array.from(place, (rank) => Math.exp(tilt * rank - top));
    const sum = ratio.reduce((total, value, c) => total + (counts[c] ? value : 0), 0);
    const share = ratio.map((value, c) => (counts[c] ? value / sum : 0));
    const seen = new Float64Array(place.length);
    const drawn = [];
    labels.forEach((y, i) => {
      if (seen[y]++ < Math.max(1, Math.round(counts[y] * ratio[y]))) drawn.push(i);
    });
    return { share, counts, drawn };
  },

  // The classes that can be a picture's answer at all, { of, logP } a picture: a class is none that has a rival in its
  // own ring with a score no lower at both ends of τ, and so between them.
  candidates(logP, { logPi, rings, taus }) {
    const C = logPi.length;
    const [low, high] = [taus[0], taus.at(-1)].map((tau) => Float64Array.from(logPi, (value) => (1 - tau) * value));
    return Array.from({ length: logP.length / C }, (_, i) => {
      const row = logP.subarray(i * C, (i + 1) * C);
      const most = {};
      const order = [...row.keys()].sort((a, b) => row[b] + low[b] - row[a] - low[a]);
      const of = order.filter((c) => {
        const score = row[c] + high[c];
        return score > (most[rings[c]] ?? -Infinity) && ((most[rings[c]] = score), true);
      });
      return { of, logP: of.map((c) => row[c]) };
    });
  },

  // The answer to each picture at τ, with a shift for each ring.
  answers(candidates, { logPi, rings }, tau, shift) {
    const add = Float64Array.from(logPi, (value, c) => shift[rings[c]] - (tau - 1) * value);
    return Int32Array.from(candidates, ({ of, logP }) => {
      let [best, most] = [of[0], -Infinity];
      for (let k = 0; k < of.length; k++) {
        const score = logP[k] + add[of[k]];
        if (score > most) [best, most] = [of[k], score];
      }
      return best;
    });
  },

  // The accuracy of each class, 0 to 1.
  byClass(answers, labels, counts) {
    const right = new Float64Array(counts.length);
    answers.forEach((answer, i) => (right[labels[i]] += answer === labels[i]));
    return right.map((hits, c) => (counts[c] ? hits / counts[c] : 0));
  },

  // Their mean by the shares of the classes, of a ring's or, without one, of all.
  mean(accuracy, share, rings, ring) {
    let [sum, all] = [0, 0];
    share.forEach((value, c) => {
      if (ring !== undefined && rings[c] !== ring) return;
      sum += value * accuracy[c];
      all += value;
    });
    return all ? sum / all : NaN;
  },

  // How probable the rings are for each picture, beside the balanced shares q of the rings: p(R_j | x_i) / q_j.
  ringRatios(logP, rings, groups) {
    const q = Array(groups).fill(0);
    for (const ring of rings) q[ring] += 1 / rings.length;
    const ratios = Array.from({ length: logP.length / rings.length }, (_, i) => {
      const mass = Array(groups).fill(0);
      rings.forEach((ring, c) => (mass[ring] += Math.exp(logP[i * rings.length + c])));
      return mass.map((value, j) => (q[j] ? value / q[j] : 0));
    });
    return { q, ratios };
  },

  // Shares of the rings in unlabelled pictures, by expectation-maximisation: π_j ← (Σ_i p'_ij + q_j) / (N + 1),
  // with p'_ij ∝ p(R_j | x_i) π_j / q_j, from the balanced shares q; and the shifts that make of it, log π_j / q_j.
  ringShares({ q, ratios }, drawn) {
    const [masses, groups] = [drawn.map((i) => ratios[i]), q.length];
    let share = [...q];
    for (let step = 0; step < 1000; step++) {
      const sum = [...q];
      for (const mass of masses) {
        let all = 0;
        for (let j = 0; j < groups; j++) all += mass[j] * share[j];
        for (let j = 0; j < groups; j++) sum[j] += (mass[j] * share[j]) / all;
      }
      const next = sum.map((value) => value / (masses.length + 1));
      const moved = Math.max(...next.map((value, j) => Math.abs(value - share[j])));
      share = next;
      if (moved < 1e-7) break;
    }
    return { share, shift: share.map((value, j) => (q[j] ? Math.log(value / q[j]) : 0)) };
  },

  // Where a curve is highest. Settings count by how near they come to the top, so that it glides where the top is flat.
  top(taus, heights) {
    const most = Math.max(...heights);
    const near = heights.map((height) => Math.exp((height - most) / 0.003));
    return near.reduce((sum, value, t) => sum + value * taus[t], 0) / near.reduce((sum, value) => sum + value, 0);
  },

  // The height of a curve between its points.
  at(taus, heights, tau) {
    const t = Math.max(
      1,
      taus.findIndex((value) => value >= tau),
    );
    const part = (tau - taus[t - 1]) / (taus[t] - taus[t - 1]);
    return heights[t - 1] + part * (heights[t] - heights[t - 1]);
  },
};
