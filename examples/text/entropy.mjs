// @ts-check

/**
 * H(byte | `previous` bytes before it) in nats: the entropy of runs one byte longer, less that of the runs.
 *
 * @param {Buffer} text
 * @param {number} previous
 */
export function conditionalEntropy(text, previous) {
  return runEntropy(text, previous + 1) - runEntropy(text, previous);
}

/**
 * Entropy, in nats, of the distribution of the runs of `length` bytes in a text.
 *
 * @param {Buffer} text
 * @param {number} length
 */
function runEntropy(text, length) {
  const counts = new Map();
  for (let end = length; end <= text.length; end++) {
    const run = length === 0 ? 0 : text.readUIntBE(end - length, length);
    counts.set(run, (counts.get(run) ?? 0) + 1);
  }
  const total = text.length - length + 1;
  return [...counts.values()].reduce((sum, count) => sum - (count / total) * Math.log(count / total), 0);
}
