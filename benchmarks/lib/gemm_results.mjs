// Results of benchmarks/gemm.mjs as results.jsonl keeps them, and the geometric means of their ratios.
import { fastest, isLibrary, isOwn, isSeparate, rounded } from './gemm_candidates.mjs';
import { piecesText } from './gemm_names.mjs';

const MODELS = { '124m': 'GPT-2 124M', '1.5b': 'GPT-2 1.5B', '22x544': '22 layers of 544 (17 heads)' };

/** The product with the rates that the tables show: of our fastest kernel and, of cuBLASLt, `first`, `best` and `separate`. */
function row({ name, layout, m, n, k, pieces, accumulate, unpadded, candidates }) {
  const rates = {
    own: fastest(candidates.filter(isOwn)),
    first: candidates.find((candidate) => candidate.name === 'cuBLASLt 1'),
    best: fastest(candidates.filter((candidate) => isLibrary(candidate) && !isSeparate(candidate))),
    separate: fastest(candidates.filter(isSeparate)),
  };
  return {
    ...(name === 'cube' && { cube: true }),
    ...{ layout, m, n, k, pieces: piecesText({ pieces }) },
    ...(accumulate && { accumulate }),
    ...(unpadded && { unpadded }),
    ...Object.fromEntries(
      Object.entries(rates)
        .filter(([, candidate]) => candidate)
        .map(([key, { rate }]) => [key, rounded(rate)]),
    ),
  };
}

/** Throws if a run or a result was measured on the CPU. */
export function requireGpu({ device }) {
  if (device === 'cpu')
    throw new Error('these products were measured on the CPU: results are kept of a GPU’s');
}

/** The result of one run of benchmarks/gemm.mjs on a GPU. Throws if it is of the CPU, of another model or incomplete. */
export function productsResult(run, products) {
  const { model, rows, precision, machine, peak, failures = [] } = run;
  requireGpu(run);
  if (!MODELS[model])
    throw new Error(
      `the products are those of '${model}'; results are kept of ${Object.keys(MODELS).join(', ')}`,
    );
  if (failures.length > 0)
    throw new Error(`the products of ${model} are incomplete, measure them again: ${failures.join('; ')}`);
  const { samples } = products.flatMap(({ candidates }) => candidates)[0];
  return {
    suite: `products_${model}_${precision}`,
    kind: 'products',
    title: `Matrix products of a training step of ${MODELS[model]} on one GPU, ${precision}`,
    work: `${rows} rows in a micro-batch; TFLOP/s, medians of ${samples} samples; the peak is ${(peak / 1e12).toFixed(0)}`,
    machine,
    rows: products.map(row),
  };
}

/** Groups the lines of files that `benchmarks/gemm.mjs --json` wrote: each run with its products. Other lines stay as they are. */
export function groupRuns(lines) {
  const runs = [];
  const others = [];
  for (const line of lines) {
    if (line.kind === 'run') runs.push({ run: line, products: [] });
    else if (line.kind !== 'product') others.push(line);
    else if (runs.length > 0) runs.at(-1).products.push(line);
    else throw new Error('a product comes before the line of its run: give the whole file');
  }
  return { runs, others };
}

/**
 * Our rate divided by that of cuBLASLt's fastest way to compute the product; undefined without one of them.
 *
 * @param {{ own?: number, best?: number, separate?: number }} row
 */
export function ratioToBest({ own, best, separate }) {
  const theirs = Math.max(best ?? 0, separate ?? 0);
  return own === undefined || theirs === 0 ? undefined : own / theirs;
}

/** The same for cuBLASLt's first choice. */
const ratioToFirst = ({ own, first }) => (own === undefined || first === undefined ? undefined : own / first);

function geometricMean(ratios) {
  const known = ratios.filter((ratio) => ratio !== undefined);
  const sum = known.reduce((total, ratio) => total + Math.log(ratio), 0);
  return { mean: known.length > 0 ? Math.exp(sum / known.length) : undefined, count: known.length };
}

/**
 * Geometric means of our rates divided by cuBLASLt's, over products that have both: of the cubes, of the products without pieces
 * and of those with pieces. Each shape counts once: products that add to C and those without padding are left out.
 */
export function productMeans(rows) {
  const counted = rows.filter(({ accumulate, unpadded }) => !accumulate && !unpadded);
  const groups = [
    ['8192³', ({ cube }) => cube],
    ['products of the step without pieces', ({ cube, pieces }) => !cube && pieces === ''],
    ['products of the step with pieces', ({ cube, pieces }) => !cube && pieces !== ''],
  ];
  return groups.map(([name, isIn]) => {
    const group = counted.filter(isIn);
    return {
      name,
      first: geometricMean(group.map(ratioToFirst)),
      best: geometricMean(group.map(ratioToBest)),
    };
  });
}
