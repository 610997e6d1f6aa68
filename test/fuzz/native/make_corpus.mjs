// node test/fuzz/native/make_corpus.mjs FOLDER: the inputs that fuzzing of native code starts from, one for each kind of
// model. Each is six lines of JSON; fuzz_native.cc says which.
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const { buildGraph } = createRequire(import.meta.url)('../../../dist/models/families.js');

const small = { type: 'gpt2', vocabSize: 19, nPositions: 8, nEmbd: 12, nHead: 2, nLayer: 1, nInner: 20 };
const models = {
  plain: { residPdrop: 0, embdPdrop: 0, attnPdrop: 0 },
  dropout: { nLayer: 2 },
  untied: { tieWordEmbeddings: false, activationFunction: 'gelu' },
  types: { nTypes: 2, nStypes: 3, activationFunction: 'relu' },
  post: { normalization: 'post', positions: 'none', activationFunction: 'silu' },
  encoder: { isEncoder: true, positions: 'sinusoidal', activationFunction: 'tanh' },
};
const padding = { vocabulary: 64, width: 8, head: 8 };
const optimizer = { type: 'adamw', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 };
const lossScaling = { initScale: 65536, growthFactor: 2, backoffFactor: 0.5, growthInterval: 2000 };
const tuned = {
  layout: 'forward',
  m: 16,
  n: 48,
  k: 16,
  pieces: [{ kind: 'bias' }],
  result: 'bfloat16',
  precision: 'bf16',
  kernel: 'cuBLASLt 3',
  seconds: 1e-5,
  library: 130001,
  source: 'cache',
};
// So little memory that the search for the largest batch ends at once: it compiles the step again and again.
const plan = {
  chip: 'h100',
  precision: 'bf16',
  rows: 2,
  lengths: { time: 8 },
  gradientAccumulationSteps: 2,
  memory: 1e6,
  padding,
  products: [tuned, { ...tuned, source: 'shipped', kernel: 'sm80 128 × 128' }],
};
const product = {
  layout: 'forward',
  m: 16,
  n: 20,
  k: 12,
  pieces: [{ kind: 'bias' }, { kind: 'keepInput' }, { kind: 'activation', function: 'gelu_new' }],
  result: 'bfloat16',
  precision: 'bf16',
  accumulate: false,
  rounds: 2,
};
const requests = [
  { mode: 'train', rows: 2, lengths: { time: 8 }, labelSmoothing: 0.1, outputs: ['loss'], rewrite: true },
  { mode: 'train', rows: 2, lengths: { time: 8 }, documents: true },
  { mode: 'eval', rows: 3, lengths: { time: 5 }, outputs: ['loss', 'logits', 'logProbs'] },
  { mode: 'prefill', rows: 2, time: 4, cache: 8 },
  { mode: 'decode', rows: 2, cache: 8 },
];

const [folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
for (const [name, settings] of Object.entries(models)) {
  for (const request of requests) {
    const documents = [
      buildGraph({ ...small, ...settings }),
      plan,
      request,
      { device: 'cpu', precision: 'fp32', seed: 1, threads: 1, padding, products: [tuned] },
      { optimizer, maxGradNorm: 1, labelSmoothing: 0.1, ...(name === 'dropout' ? { lossScaling } : {}) },
      product,
    ];
    const text = documents.map((document) => `${JSON.stringify(document)}\n`).join('');
    const { mode, documents: packed } = request;
    writeFileSync(path.join(folder, `${name}-${mode}${packed ? '-packed' : ''}`), text);
  }
}
