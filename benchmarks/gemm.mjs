// Measures the matrix products of a training step by every kernel that computes them, and prints their rates.
//   npm run bench:gemm -- [--model 124m|1.5b|22x544|CONFIG.json] [--device cuda:0|cpu] [--precision bf16|fp16|tf32|fp32]
//                         [--rows N] [--samples N] [--json FILE] [--svg FILE]
// --rows are those of a micro-batch. A GPU's peak is the fastest product of 8192³ in the same run. If a product or a kernel
// fails, the others are still measured, the failures are listed at the end, and the exit status is 1.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { readRunConfig } from '../dist/cli/config.js';
import { resolveModelConfig } from '../dist/models/families.js';
import { gemmChart } from './lib/gemm_chart.mjs';
import { chosenDevice, count, measureAll, reportFailures, unitOf } from './lib/gemm_measure.mjs';
import { shapeText } from './lib/gemm_names.mjs';
import { trainingProducts } from './lib/gemm_products.mjs';
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

/** The model's configuration, and the rows of a micro-batch. */
async function chosenModel() {
  const known = models[values.model];
  if (known) return { config: configOf(known.shape), rows: known.rows };
  const { model, training } = await readRunConfig(values.model);
  return { config: model, rows: training?.batchSize ?? 8 };
}

/** The fastest of some products, with its rate; undefined without any. */
const fastestProduct = (products) =>
  products
    .flatMap((product) => product.candidates.map(({ rate }) => ({ product, rate })))
    .toSorted((a, b) => b.rate - a.rate)[0];

async function main() {
  const { config, rows: defaultRows } = await chosenModel();
  const samples = count('samples', values.samples);
  const rows = values.rows === undefined ? defaultRows : count('rows', values.rows);
  const device = await chosenDevice(values.device);
  if (device.kind === 'cpu' && !values.device)
    console.log('No GPU here: these are the CPU’s products, with fewer rows at the same alignments.');
  const precision = values.precision ?? (device.kind === 'cpu' ? 'fp32' : 'bf16');
  const model = resolveModelConfig(config);
  const products = trainingProducts(model, {
    kind: device.kind,
    chip: device.kind === 'cpu' ? 'h100' : (device.chip ?? 'h100'),
    precision,
    rows,
    lengths: { time: model.nPositions },
  });

  const { results, failures } = await measureAll(
    device.name,
    products.map((product) => ({ ...product, precision })),
    { samples },
  );
  const cubes = results.filter(({ name }) => name === 'cube');
  const fastest = fastestProduct(cubes.length > 0 ? cubes : results);
  if (!fastest) {
    reportFailures(failures);
    return;
  }
  const peak = fastest.rate;
  const { unit, format } = unitOf(device.kind);

  const work = `${values.model}, ${rows} × ${model.nPositions} tokens, ${precision}, ${device.description}`;
  console.log(`${work}; ${unit}, medians of ${samples} samples\n`);
  console.log(gemmTable(results, { peak, format }));
  console.log(`\npeak: ${format(peak)} ${unit}, the fastest product of ${shapeText(fastest.product)}`);

  if (values.json) {
    const head = {
      kind: 'run',
      model: values.model,
      rows,
      precision,
      device: device.name,
      machine: machine(device.kind),
      peak,
      failures,
    };
    const lines = [head, ...results.map((row) => ({ kind: 'product', ...row }))];
    writeFileSync(values.json, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  }
  if (values.svg) {
    writeFileSync(
      values.svg,
      gemmChart(results, {
        title: `Matrix products of a training step, ${unit}`,
        note: work,
        peak,
        format,
      }),
    );
  }
  reportFailures(failures);
}

try {
  await main();
} catch (error) {
  console.error(error.code ? `${error.code}: ${error.message}` : error.stack);
  process.exitCode = 1;
}
