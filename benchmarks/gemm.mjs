// Measures the matrix products of a training step by every kernel that computes them, and prints their rates.
//   npm run bench:gemm -- [--model 124m|1.5b|22x544|CONFIG.json] [--device cuda:0|cpu] [--precision bf16|fp16|tf32|fp32]
//                         [--rows N] [--samples N] [--json FILE] [--svg FILE]
// --rows are those of a micro-batch. A GPU's peak is the fastest product of 8192³ in the same run.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { readRunConfig } from '../dist/cli/config.js';
import { resolveModelConfig } from '../dist/models/families.js';
import { devices, measureProduct } from '../dist/native.js';
import { AmountProgress } from '../dist/report/amount_progress.js';
import { formatDuration } from '../dist/report/format.js';
import { gemmChart } from './lib/gemm_chart.mjs';
import { layoutText, shapeText, trainingProducts } from './lib/gemm_products.mjs';
import { gemmTable } from './lib/gemm_table.mjs';
import { machine } from './lib/measure.mjs';
import { configOf, deep, gpt2, gpt2Xl } from './lib/models.mjs';

const models = {
  '124m': { shape: gpt2, rows: 64 },
  '1.5b': { shape: gpt2Xl, rows: 16 },
  '22x544': { shape: deep, rows: 128 },
};

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: '124m' },
    device: { type: 'string' },
    precision: { type: 'string' },
    rows: { type: 'string' },
    samples: { type: 'string', default: '20' },
    json: { type: 'string' },
    svg: { type: 'string' },
  },
});

function count(name, text) {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  console.error(`--${name} is '${text}'; it must be a positive integer`);
  process.exit(2);
}

/** The model's configuration, and the rows of a micro-batch. */
async function chosenModel() {
  const known = models[values.model];
  if (known) return { config: configOf(known.shape), rows: known.rows };
  const { model, training } = await readRunConfig(values.model);
  return { config: model, rows: training?.batchSize ?? 8 };
}

/** The device, by default the first GPU. */
async function chosenDevice() {
  const all = await devices();
  const found = values.device
    ? all.find(({ name }) => name === values.device)
    : (all.find(({ kind }) => kind === 'cuda') ?? all[0]);
  if (!found) {
    console.error(`there is no device '${values.device}': use ${all.map(({ name }) => name).join(', ')}`);
    process.exit(2);
  }
  if (found.kind === 'cpu' && !values.device)
    console.log('No GPU here: these are the CPU’s products, with fewer rows at the same alignments.');
  return found;
}

const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];

/** A product with the median, the 10th and the 90th percentile of each candidate's seconds, and its FLOP/s. */
async function measured(device, precision, samples, product) {
  const { layout, m, n, k, pieces, result, accumulate = false } = product;
  const flops = 2 * m * n * k;
  const request = { layout, m, n, k, pieces, result, accumulate, precision, rounds: samples };
  const candidates = await measureProduct(device.name, request).catch((cause) => {
    throw Object.assign(
      new Error(`${layoutText(product)} of ${shapeText(product)}: ${cause.message}`, { cause }),
      {
        code: cause.code,
      },
    );
  });
  return {
    ...product,
    candidates: candidates.map(({ name, seconds }) => {
      const sorted = seconds.toSorted((a, b) => a - b);
      const median = at(sorted, 0.5);
      return { name, rate: flops / median, median, low: at(sorted, 0.1), high: at(sorted, 0.9), samples };
    }),
  };
}

async function main() {
  const { config, rows: defaultRows } = await chosenModel();
  const samples = count('samples', values.samples);
  const rows = values.rows === undefined ? defaultRows : count('rows', values.rows);
  const device = await chosenDevice();
  const precision = values.precision ?? (device.kind === 'cpu' ? 'fp32' : 'bf16');
  const model = resolveModelConfig(config);
  const products = trainingProducts(model, {
    kind: device.kind,
    chip: device.kind === 'cpu' ? 'h100' : (device.chip ?? 'h100'),
    precision,
    rows,
    lengths: { time: model.nPositions },
  });

  const results = [];
  const progress = new AmountProgress(
    (done, total, seconds) =>
      `${done} of ${total} products · ${formatDuration((seconds / done) * (total - done))} left`,
  );
  try {
    for (const product of products) {
      progress.update(results.length, products.length);
      results.push(await measured(device, precision, samples, product));
    }
  } finally {
    progress.stop();
  }

  const peak = Math.max(
    ...results.filter(({ name }) => name === 'cube').flatMap((row) => row.candidates.map(({ rate }) => rate)),
  );
  const unit = device.kind === 'cpu' ? { name: 'GFLOP/s', size: 1e9 } : { name: 'TFLOP/s', size: 1e12 };
  const format = (rate) => (rate / unit.size).toFixed(unit.size === 1e9 || rate >= 1e14 ? 0 : 1);

  const work = `${values.model}, ${rows} × ${model.nPositions} tokens, ${precision}, ${device.description}`;
  console.log(`${work}; ${unit.name}, medians of ${samples} samples\n`);
  console.log(gemmTable(results, { peak, format }));
  const [cube] = results;
  console.log(`\npeak: ${format(peak)} ${unit.name}, the fastest product of ${shapeText(cube)}`);

  if (values.json) {
    const head = {
      kind: 'run',
      model: values.model,
      rows,
      precision,
      device: device.name,
      machine: machine(device.kind),
      peak,
    };
    const lines = [head, ...results.map((row) => ({ kind: 'product', ...row }))];
    writeFileSync(values.json, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  }
  if (values.svg) {
    writeFileSync(
      values.svg,
      gemmChart(results, {
        title: `Matrix products of a training step, ${unit.name}`,
        note: work,
        peak,
        format,
      }),
    );
  }
}

try {
  await main();
} catch (error) {
  console.error(error.code ? `${error.code}: ${error.message}` : error.stack);
  process.exitCode = 1;
}
