// TensorFlow.js's side of benchmarks/training_step.mjs: the same model and step with the WebAssembly backend, its fastest CPU
// backend that npm installs without a download from elsewhere. Answers each input line with the step's seconds.
//
// Install the packages in a folder of your own:
//   npm install --prefix FOLDER @tensorflow/tfjs @tensorflow/tfjs-backend-wasm
//   node benchmarks/run.mjs cpu_step --tfjs FOLDER
//
// Usage: node tfjs_step.mjs '{"rows": 32, "shape": {…}}' FOLDER
import { createRequire } from 'node:module';
import path from 'node:path';
import readline from 'node:readline';

const [{ rows, shape }, folder] = [JSON.parse(process.argv[2]), process.argv[3]];
const load = createRequire(path.resolve(folder, 'package.json'));
const tf = load('@tensorflow/tfjs');
load('@tensorflow/tfjs-backend-wasm');
await tf.setBackend('wasm');
await tf.ready();

const { vocabSize, nPositions, nEmbd, nLayer, nHead } = shape;
const headSize = nEmbd / nHead;
const learningRate = 1e-4;
const weightDecay = 0.01;
const maxGradNorm = 1;

const matrix = (...size) => tf.variable(tf.randomNormal(size, 0, 0.02));
const filled = (value, ...size) => tf.variable(tf.fill(size, value));
const norm = () => ({ weight: filled(1, nEmbd), bias: filled(0, nEmbd) });
const linear = (inputs, outputs) => ({ weight: matrix(inputs, outputs), bias: filled(0, outputs) });

const wte = matrix(vocabSize, nEmbd);
const wpe = matrix(nPositions, nEmbd);
const blocks = Array.from({ length: nLayer }, () => ({
  ln1: norm(),
  qkv: linear(nEmbd, 3 * nEmbd),
  projection: linear(nEmbd, nEmbd),
  ln2: norm(),
  up: linear(nEmbd, 4 * nEmbd),
  down: linear(4 * nEmbd, nEmbd),
}));
const lnF = norm();

// The backend multiplies two untransposed matrices by XNNPACK, and transposed or batched ones 10 to 25 times slower. Its sums over
// rows, its tanh and its unstack are slow too. What follows computes the same without them.

/** Of a matrix, or of each matrix of a batch. */
const swapAxes = (x) => tf.transpose(x, x.rank === 2 ? [1, 0] : [0, 2, 1]);

/** The sums of columns: (N, M) → (M). */
const sumRows = (x) => tf.reshape(tf.matMul(tf.ones([1, x.shape[0]]), x), [-1]);

/** Gradient of `weight` in (N, K) · (K, M). It transposes the narrower of both operands. */
const weightGradient = (x, slope) =>
  x.shape[1] <= slope.shape[1] ? tf.matMul(swapAxes(x), slope) : swapAxes(tf.matMul(swapAxes(slope), x));

/** (N, K) · (K, M). */
const product = tf.customGrad((x, weight, save) => {
  save([x, weight]);
  return {
    value: tf.matMul(x, weight),
    gradFunc: (slope, [x, weight]) => [tf.matMul(slope, swapAxes(weight)), weightGradient(x, slope)],
  };
});

const addBias = tf.customGrad((x, bias) => ({
  value: tf.add(x, bias),
  gradFunc: (slope) => [slope, sumRows(slope)],
}));

const scale = tf.customGrad((x, weight, save) => {
  save([x, weight]);
  return {
    value: tf.mul(x, weight),
    gradFunc: (slope, [x, weight]) => [tf.mul(slope, weight), sumRows(tf.mul(slope, x))],
  };
});

const applyLinear = (x, { weight, bias }) => addBias(product(x, weight), bias);

function applyNorm(x, { weight, bias }) {
  const centered = tf.sub(x, tf.mean(x, -1, true));
  const variance = tf.mean(tf.square(centered), -1, true);
  return addBias(scale(tf.mul(centered, tf.rsqrt(tf.add(variance, 1e-5))), weight), bias);
}

/** GELU's tanh form by the sigmoid: tanh(z) = 2 · sigmoid(2 z) − 1. */
function gelu(x) {
  const cubic = tf.mul(x, tf.add(tf.mul(tf.square(x), 0.044715), 1));
  return tf.mul(x, tf.sigmoid(tf.mul(cubic, 2 * Math.sqrt(2 / Math.PI))));
}

/** The matrices of a batch: (…, M, K) → (M, K) each. */
function matrices(x) {
  const size = x.shape.slice(-2);
  const [values, length] = [x.dataSync(), size[0] * size[1]];
  return Array.from({ length: x.size / length }, (_, i) =>
    tf.tensor2d(values.subarray(i * length, (i + 1) * length), size),
  );
}

const products = (left, right) => left.map((one, i) => tf.matMul(one, right[i]));
const transposed = (batch) => batch.map(swapAxes);

/** −1e9 above the diagonal: (1, T, T). */
const causalMask = tf.tensor3d(
  Float32Array.from({ length: nPositions ** 2 }, (_, i) =>
    i % nPositions > Math.floor(i / nPositions) ? -1e9 : 0,
  ),
  [1, nPositions, nPositions],
);

/** Queries, keys and values of each row and head, of (B, 3 H, T, D). */
function splitHeads(qkv) {
  const all = matrices(qkv);
  return [0, 1, 2].map((part) => all.filter((_, i) => Math.floor(i / nHead) % 3 === part));
}

/** Causal attention: (B, 3 H, T, D) → (B, H, T, D). */
const attention = tf.customGrad((qkv, save) => {
  const [q, k, v] = splitHeads(qkv);
  const scores = tf.mul(tf.stack(products(q, transposed(k))), headSize ** -0.5);
  const probabilities = tf.softmax(tf.add(scores, causalMask));
  save([qkv, probabilities]);
  return {
    value: tf.reshape(tf.stack(products(matrices(probabilities), v)), [rows, nHead, nPositions, headSize]),
    gradFunc(slope, [qkv, probabilities]) {
      const [q, k, v] = splitHeads(qkv);
      const slopes = matrices(slope);
      const byProbability = tf.mul(tf.stack(products(slopes, transposed(v))), probabilities);
      const mean = tf.mul(probabilities, tf.sum(byProbability, -1, true));
      const byScore = matrices(tf.mul(tf.sub(byProbability, mean), headSize ** -0.5));
      const parts = [
        products(byScore, k),
        products(transposed(byScore), q),
        products(transposed(matrices(probabilities)), slopes),
      ];
      const packed = parts.map((part) => tf.reshape(tf.stack(part), slope.shape));
      return tf.concat(packed, 1);
    },
  };
});

/** (B · T, 3 C) → (B · T, C). */
function attend(x) {
  const byHead = tf.transpose(tf.reshape(x, [rows, nPositions, 3 * nHead, headSize]), [0, 2, 1, 3]);
  return tf.reshape(tf.transpose(attention(byHead), [0, 2, 1, 3]), [rows * nPositions, nEmbd]);
}

const oneHot = (ids) => tf.cast(tf.oneHot(tf.tensor1d(ids, 'int32'), vocabSize), 'float32');
const randomIds = () =>
  Int32Array.from({ length: rows * nPositions }, () => Math.floor(Math.random() * vocabSize));
const [tokens, targets] = [oneHot(randomIds()), oneHot(randomIds())];

/** The mean cross-entropy. The backend can't differentiate a gather, so the embedding is a product too. */
function loss() {
  let x = tf.add(tf.reshape(product(tokens, wte), [rows, nPositions, nEmbd]), wpe);
  x = tf.reshape(x, [rows * nPositions, nEmbd]);
  for (const { ln1, qkv, projection, ln2, up, down } of blocks) {
    x = tf.add(x, applyLinear(attend(applyLinear(applyNorm(x, ln1), qkv)), projection));
    x = tf.add(x, applyLinear(gelu(applyLinear(applyNorm(x, ln2), up)), down));
  }
  const logits = product(applyNorm(x, lnF), swapAxes(wte));
  return tf.neg(tf.mean(tf.sum(tf.mul(tf.logSoftmax(logits), targets), -1)));
}

const parameters = Object.values(tf.engine().registeredVariables);
const moments = parameters.map((parameter) => [0, 1].map(() => tf.variable(tf.zerosLike(parameter), false)));
let stepCount = 0;

/** AdamW with clipping by the global norm. */
function update(gradients) {
  stepCount++;
  const squares = tf.addN(gradients.map((gradient) => tf.sum(tf.square(gradient))));
  const clip = tf.minimum(1, tf.div(maxGradNorm, tf.add(tf.sqrt(squares), 1e-6)));
  const rate = learningRate / (1 - 0.9 ** stepCount);
  const correction = 1 / (1 - 0.999 ** stepCount);
  for (const [i, parameter] of parameters.entries()) {
    const [mean, square] = moments[i];
    const gradient = tf.mul(gradients[i], clip);
    mean.assign(tf.add(tf.mul(mean, 0.9), tf.mul(gradient, 0.1)));
    square.assign(tf.add(tf.mul(square, 0.999), tf.mul(tf.square(gradient), 0.001)));
    const change = tf.div(tf.mul(mean, rate), tf.add(tf.sqrt(tf.mul(square, correction)), 1e-8));
    parameter.assign(tf.sub(tf.mul(parameter, 1 - learningRate * weightDecay), change));
  }
}

/** One training step. Returns the loss before it. */
const step = () =>
  tf.tidy(() => {
    const { value, grads } = tf.variableGrads(loss, parameters);
    update(parameters.map(({ name }) => grads[name]));
    return value.dataSync()[0];
  });

const losses = Array.from({ length: 5 }, step);
if (Math.abs(losses[0] - Math.log(vocabSize)) > 0.2 || losses.at(-1) >= losses[0])
  throw new Error(`the model does not learn: its losses are ${losses.join(', ')}`);

console.log(JSON.stringify({ name: `TensorFlow.js ${tf.version_core} WebAssembly, one thread` }));
readline.createInterface({ input: process.stdin }).on('line', () => {
  const start = performance.now();
  step();
  console.log((performance.now() - start) / 1000);
});
