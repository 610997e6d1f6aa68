// Measures matrix products one after the other. A product that fails is reported and the others are measured.
import { devices, measureProduct } from '../../dist/native.js';
import { AmountProgress } from '../../dist/report/amount_progress.js';
import { formatDuration } from '../../dist/report/format.js';
import { layoutText, shapeText } from './gemm_names.mjs';

/** The device of that name, by default the first GPU, else the CPU. */
export async function chosenDevice(name) {
  const all = await devices();
  const found = name
    ? all.find((device) => device.name === name)
    : (all.find(({ kind }) => kind === 'cuda') ?? all[0]);
  if (found) return found;
  console.error(`there is no device '${name}': use ${all.map((device) => device.name).join(', ')}`);
  process.exit(2);
}

/** Reads a positive integer from the command line. */
export function count(option, text) {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  console.error(`--${option} is '${text}'; it must be a positive integer`);
  process.exit(2);
}

/** The unit of rates on a kind of device, and a function that formats FLOP/s in it. */
export function unitOf(kind) {
  const [unit, size] = kind === 'cpu' ? ['GFLOP/s', 1e9] : ['TFLOP/s', 1e12];
  return { unit, format: (rate) => (rate / size).toFixed(kind === 'cpu' || rate >= 1e14 ? 0 : 1) };
}

const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];

/** @typedef {{ name: string, rate: number, median: number, low: number, high: number, samples: number }} Candidate */

/** A candidate with the median, the 10th and the 90th percentile of its seconds, and its FLOP/s. */
function summary({ name, seconds }, flops) {
  const sorted = seconds.toSorted((a, b) => a - b);
  const median = at(sorted, 0.5);
  return {
    name,
    rate: flops / median,
    median,
    low: at(sorted, 0.1),
    high: at(sorted, 0.9),
    samples: sorted.length,
  };
}

/**
 * @template Product
 * @param {string} device
 * @param {Product[]} products with their `precision`
 * @param {{ samples: number, measure?: typeof measureProduct }} options `measure` measures one product
 * @returns {Promise<{ results: (Product & { candidates: Candidate[] })[], failures: string[] }>} `results` leaves out what
 * failed; `failures` has a line for each product and each candidate that failed.
 */
export async function measureAll(device, products, { samples, measure = measureProduct }) {
  const results = [];
  const failures = [];
  const progress = new AmountProgress(
    (done, total, seconds) =>
      `${done} of ${total} products · ${formatDuration((seconds / done) * (total - done))} left`,
  );
  for (const [done, product] of products.entries()) {
    progress.update(done, products.length);
    const { layout, m, n, k, pieces, result, accumulate = false, precision } = product;
    const request = { layout, m, n, k, pieces, result, accumulate, precision, rounds: samples };
    const name = `${layoutText(product)} of ${shapeText(product)} in ${precision}`;
    try {
      const measured = await measure(device, request);
      for (const { name: candidate, error } of measured)
        if (error !== undefined) failures.push(`${name} by ${candidate}: ${error}`);
      const ran = measured.filter(({ error }) => error === undefined);
      if (measured.length === 0 || ran.length > 0)
        results.push({ ...product, candidates: ran.map((one) => summary(one, 2 * m * n * k)) });
    } catch (error) {
      failures.push(`${name}: ${error.code ? `${error.code}: ` : ''}${error.message}`);
    }
  }
  progress.stop();
  return { results, failures };
}

/** Prints the failures, if any, and makes the process exit with 1. */
export function reportFailures(failures) {
  if (failures.length === 0) return;
  console.error(`\n${failures.length} of the measurements failed; the results above lack them:`);
  for (const failure of failures) console.error(`  ${failure}`);
  process.exitCode = 1;
}
