// Measures what the alignment of a weight is worth in each precision, and prints a table of rates.
//   npm run bench:alignment -- [--device cuda:0|cpu] [--samples N] [--json FILE] [--svg FILE]
// The products have 16,384 rows and a weight of about 2048 × 2048 or 512 × 512, whose extents are multiples of exactly 1, 2, 4, …,
// 128 elements. Without a GPU it measures smaller products of the CPU, in fp32.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { textTable } from '../dist/report/table.js';
import { alignedProducts, alignmentSeries, alignmentTable } from './lib/alignment.mjs';
import { alignmentChart } from './lib/alignment_chart.mjs';
import { chosenDevice, count, measureAll, reportFailures, unitOf } from './lib/gemm_measure.mjs';
import { machine } from './lib/measure.mjs';

const PRODUCTS = {
  cuda: { rows: 16384, widths: [2048, 512], precisions: ['bf16', 'fp16', 'tf32', 'fp32'] },
  cpu: { rows: 256, widths: [512], precisions: ['fp32'] },
};

const { values } = parseArgs({
  options: {
    device: { type: 'string' },
    samples: { type: 'string', default: '20' },
    json: { type: 'string' },
    svg: { type: 'string' },
  },
});

async function main() {
  const samples = count('samples', values.samples);
  const device = await chosenDevice(values.device);
  if (device.kind === 'cpu' && !values.device)
    console.log('No GPU here: these are smaller products of the CPU, in fp32.');
  const chosen = PRODUCTS[device.kind];
  const { results, failures } = await measureAll(device.name, alignedProducts(chosen), { samples });
  const series = alignmentSeries(results);
  if (series.length > 0) {
    const { unit, format } = unitOf(device.kind);
    const result = {
      suite: 'alignment',
      kind: 'alignment',
      title: `Alignment of a weight, ${device.kind === 'cpu' ? 'the CPU' : 'one GPU'}`,
      work: `Forward products of ${chosen.rows.toLocaleString('en-US')} rows, ${unit}, medians of ${samples} samples`,
      device: device.name,
      machine: machine(device.kind),
      rows: series,
    };
    const { titles, rows } = alignmentTable(series, format);
    console.log(`${result.work}, ${device.description}\n`);
    console.log(
      textTable(
        titles.map((title, i) => ({ title, align: i < 3 ? 'left' : 'right' })),
        rows,
      ),
    );
    console.log('\nColumns: the highest power of two that divides both extents of the weight.');
    console.log('Percentages: shares of the rate in the last column.');
    if (values.json) writeFileSync(values.json, `${JSON.stringify(result)}\n`);
    if (values.svg) {
      const note = `${result.work}, ${result.machine.name}`;
      writeFileSync(values.svg, alignmentChart(series, { title: result.title, note, format }));
    }
  }
  reportFailures(failures);
}

try {
  await main();
} catch (error) {
  console.error(error.code ? `${error.code}: ${error.message}` : error.stack);
  process.exitCode = 1;
}
