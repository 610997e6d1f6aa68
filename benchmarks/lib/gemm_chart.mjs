// A heat map of matrix products: a row for each product, a column for each way to compute it.
import { scaleLinear } from 'd3-scale';
import { escapeXml, svgDocument } from '../../dist/report/svg.js';
import { fastest, isLibrary, isSeparate, libraryChoice } from './gemm_candidates.mjs';
import { layoutText, piecesText, shapeText } from './gemm_products.mjs';

const CELL = { width: 46, height: 22 };
const MARGIN = { top: 170, right: 90, bottom: 44, left: 420 };
const LEAST_WIDTH = 720; // for the lines of text
const FULL = '#1f77b4';

/** One column for all algorithms of cuBLASLt that another kernel follows: it shows the fastest. */
const SEPARATE = 'cuBLASLt and a kernel';

function withOneSeparate(row) {
  const separate = fastest(row.candidates.filter(isSeparate));
  const others = row.candidates.filter((candidate) => !isSeparate(candidate));
  return { ...row, candidates: separate ? [...others, { ...separate, name: SEPARATE }] : others };
}

/** Our kernels, cuBLASLt's algorithms in its order, and the column of those that another kernel follows. */
function columnsOf(rows) {
  const names = [...new Set(rows.flatMap(({ candidates }) => candidates.map(({ name }) => name)))];
  const place = (name) => {
    if (name === SEPARATE) return Infinity;
    return isLibrary({ name }) ? libraryChoice({ name }) : 0;
  };
  return names.sort((a, b) => place(a) - place(b));
}

/**
 * SVG text.
 *
 * @param {object[]} products with their `candidates`: { name, rate } in FLOP/s
 * @param {{ title: string, note: string, peak: number, format: (rate: number) => string }} options `peak` in FLOP/s
 */
export function gemmChart(products, { title, note, peak, format }) {
  const rows = products.map(withOneSeparate);
  const columns = columnsOf(rows);
  const width = Math.max(LEAST_WIDTH, MARGIN.left + columns.length * CELL.width + MARGIN.right);
  const height = MARGIN.top + rows.length * CELL.height + MARGIN.bottom;
  const colour = scaleLinear([0, 1], ['#ffffff', FULL]).clamp(true);
  const titles = columns.map((name, i) => {
    const x = MARGIN.left + (i + 0.6) * CELL.width;
    return `<text transform="translate(${x.toFixed(1)} ${MARGIN.top - 8}) rotate(-50)">${escapeXml(name)}</text>`;
  });
  const lines = rows.flatMap((row, i) => {
    const top = MARGIN.top + i * CELL.height;
    const label = [shapeText(row), layoutText(row), piecesText(row)].filter(Boolean).join(' · ');
    const best = fastest(row.candidates)?.rate;
    const cells = row.candidates.flatMap(({ name, rate }) => {
      const x = MARGIN.left + columns.indexOf(name) * CELL.width;
      const share = rate / peak;
      return [
        `<rect x="${x}" y="${top}" width="${CELL.width - 1}" height="${CELL.height - 1}" fill="${colour(share)}">` +
          `<title>${escapeXml(`${name}: ${(100 * share).toFixed(1)} % of the peak`)}</title></rect>`,
        `<text x="${x + CELL.width / 2}" y="${top + 15}" text-anchor="middle" fill="${share > 0.75 ? '#fff' : '#333'}"` +
          `${rate === best ? ' font-weight="700"' : ''}>${format(rate)}</text>`,
      ];
    });
    return [
      `<text x="${MARGIN.left - 8}" y="${top + 15}" text-anchor="end">${escapeXml(label)}</text>`,
      ...cells,
    ];
  });
  const bottom = height - MARGIN.bottom;
  return svgDocument({ width, height, title, left: 28 }, [
    `<text x="28" y="46" fill="#666">${escapeXml(note)}</text>`,
    ...titles,
    ...lines,
    `<text x="28" y="${bottom + 24}" fill="#666">m × n × k; the fastest of a row is bold; full colour is ` +
      `the peak, ${format(peak)}</text>`,
  ]);
}
