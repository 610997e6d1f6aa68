// What the alignment of a weight is worth: the products that differ in it alone, and their rates.
import { fastest, rounded } from './gemm_candidates.mjs';

/** Powers of two that divide both extents of a weight; no higher one does. */
export const ALIGNMENTS = [1, 2, 4, 8, 16, 32, 64, 128];

/** Elements that a weight should be aligned to: at least to the first, better to the second. */
export const RULES = { tf32: [4, 32], bf16: [8, 64], fp16: [8, 64] };

/** Types of results, of fp32 unless listed. @type {Record<string, string>} */
const RESULTS = { bf16: 'bfloat16', fp16: 'float16' };

/**
 * Forward products of a weight of w + a outputs and w − a inputs, for each width w and alignment a: the useful work, w² − a² for
 * a row, hardly depends on a.
 *
 * @param {{ rows: number, widths: number[], precisions: string[] }} options widths are powers of two, at least 256
 */
export function alignedProducts({ rows, widths, precisions }) {
  return precisions.flatMap((precision) =>
    widths.flatMap((width) =>
      ALIGNMENTS.map((alignment) => ({
        layout: 'forward',
        m: rows,
        n: width + alignment,
        k: width - alignment,
        pieces: [],
        result: RESULTS[precision] ?? 'float32',
        precision,
        width,
        alignment,
      })),
    ),
  );
}

/**
 * Groups measured products by width and precision. `best` is the highest rate of all candidates, by the kernel `by`; `first` is
 * the rate of cuBLASLt's first choice. Rates are in FLOP/s of the useful work.
 *
 * @param {{ width: number, precision: string, alignment: number, candidates: { name: string, rate: number }[] }[]} products
 * @returns {{ width: number, precision: string, points: { alignment: number, best: number, by: string, first?: number }[] }[]}
 */
export function alignmentSeries(products) {
  const measured = products.filter(({ candidates }) => candidates.length > 0);
  const keyOf = ({ width, precision }) => `${width} ${precision}`;
  const groups = [...new Set(measured.map(keyOf))].map((key) => measured.filter((one) => keyOf(one) === key));
  return groups.map((group) => ({
    width: group[0].width,
    precision: group[0].precision,
    points: group.map(({ alignment, candidates }) => {
      const { rate, name } = fastest(candidates);
      const first = candidates.find((candidate) => candidate.name === 'cuBLASLt 1');
      return {
        alignment,
        best: rounded(rate),
        by: name,
        ...(first && { first: rounded(first.rate) }),
      };
    }),
  }));
}

/** A rate and its share of the rate at the largest alignment, as far as they are known. */
function cell(points, point, key, format) {
  if (point?.[key] === undefined) return '';
  const aligned = points.find(({ alignment }) => alignment === ALIGNMENTS.at(-1))?.[key];
  const share = aligned === undefined ? '' : `, ${((100 * point[key]) / aligned).toFixed(0)} %`;
  return `${format(point[key])}${share}`;
}

/**
 * A table: the titles of its columns and the cells of its rows. A cell is a rate and its share of the rate at the largest
 * alignment.
 *
 * @param {ReturnType<typeof alignmentSeries>} series
 * @param {(rate: number) => string} format of a rate in FLOP/s
 * @returns {{ titles: string[], rows: string[][] }}
 */
export function alignmentTable(series, format) {
  const lines = [
    ['best', 'fastest'],
    ['first', 'cuBLASLt 1'],
  ];
  return {
    titles: ['weight', 'precision', 'kernel', ...ALIGNMENTS.map(String)],
    rows: series.flatMap(({ width, precision, points }) =>
      lines
        .filter(([key]) => points.some((point) => point[key] !== undefined))
        .map(([key, name]) => [
          `about ${width}²`,
          precision,
          name,
          ...ALIGNMENTS.map((alignment) => {
            const point = points.find((one) => one.alignment === alignment);
            return cell(points, point, key, format);
          }),
        ]),
    ),
  };
}
