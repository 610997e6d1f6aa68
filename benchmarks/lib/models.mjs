// The models that benchmarks train, and random batches for them.

export const gpt2 = { vocabSize: 50257, nPositions: 1024, nEmbd: 768, nLayer: 12, nHead: 12 };
export const gpt2Xl = { vocabSize: 50257, nPositions: 1024, nEmbd: 1600, nLayer: 48, nHead: 25 };
export const deep = { vocabSize: 256, nPositions: 200, nEmbd: 544, nLayer: 22, nHead: 17 };
export const small = { vocabSize: 256, nPositions: 128, nEmbd: 128, nLayer: 5, nHead: 4 };

/** The configuration of a shape, without dropout. */
export const configOf = (shape) => ({ type: 'gpt2', ...shape, residPdrop: 0, embdPdrop: 0, attnPdrop: 0 });

/** Rows of random tokens, each with a random target. */
export function randomBatch(rows, { vocabSize, nPositions }) {
  const random = () =>
    Array.from({ length: rows }, () =>
      Int32Array.from({ length: nPositions }, () => Math.floor(Math.random() * vocabSize)),
    );
  return { tokens: random(), targets: random() };
}
