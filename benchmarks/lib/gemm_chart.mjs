// A heat map of matrix products: a row for each product, a column for each way to compute it.
import { scaleLinear } from 'd3-scale';
import { escapeXml, svgDocument } from '../../dist/report/svg.js';
import { fastest, isLibrary, isSeparate, libraryChoice } from './gemm_candidates.mjs';
import { layoutText, piecesText, shapeText } from './gemm_names.mjs';

const CELL = { width: 46, height: 22 };
const MARGIN = { top: 156, right: 60, bottom: 60, left: 24 };
const LEAST_WIDTH = 800; // for the lines of text
const CHARACTER = 7.2; // pixels, of a wide font
const GAP = 18; // between columns of text
const FULL = '#08519c';
const LACKING = '#f0f0f0';

/** One column for all algorithms of cuBLASLt that another kernel follows: it shows the fastest. */
const SEPARATE = 'and a kernel';

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

/** What a row is, in three columns of text, and where each of them starts. */
function labelsOf(rows) {
  const cells = rows.map((row) => [shapeText(row), layoutText(row), piecesText(row)]);
  const starts = [MARGIN.left];
  for (let i = 0; i < 3; i++) {
    const widest = Math.max(...cells.map((row) => row[i].length)) * CHARACTER;
    starts.push(starts[i] + (widest > 0 ? widest + GAP : 0));
  }
  return { cells, starts, end: starts[3] };
}

/** Numbers for cuBLASLt's algorithms, under a line with its name; slanted names for the others. */
function titles(columns, left) {
  const bottom = MARGIN.top - 8;
  const centre = (i) => left + (i + 0.5) * CELL.width;
  const names = columns.map((name, i) =>
    isLibrary({ name })
      ? `<text x="${centre(i)}" y="${bottom}" text-anchor="middle">${libraryChoice({ name })}</text>`
      : `<text transform="translate(${centre(i).toFixed(1)} ${bottom}) rotate(-50)">${escapeXml(name)}</text>`,
  );
  const library = columns.filter((name) => isLibrary({ name })).length;
  if (library === 0) return names;
  const from = left + columns.findIndex((name) => isLibrary({ name })) * CELL.width;
  const to = from + library * CELL.width;
  return [
    ...names,
    `<line x1="${from + 4}" x2="${to - 5}" y1="${bottom - 18}" y2="${bottom - 18}" stroke="#999"/>`,
    `<text x="${(from + to) / 2}" y="${bottom - 26}" text-anchor="middle">cuBLASLt’s algorithms, in its order</text>`,
  ];
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
  const labels = labelsOf(rows);
  const left = labels.end;
  const width = Math.max(LEAST_WIDTH, left + columns.length * CELL.width + MARGIN.right);
  const height = MARGIN.top + rows.length * CELL.height + MARGIN.bottom;
  const colour = scaleLinear([0, 1], ['#ffffff', FULL]).clamp(true);
  const lines = rows.flatMap((row, i) => {
    const top = MARGIN.top + i * CELL.height;
    const best = fastest(row.candidates)?.rate;
    const cells = columns.flatMap((column, place) => {
      const candidate = row.candidates.find(({ name }) => name === column);
      const x = left + place * CELL.width;
      const rectangle = (fill) =>
        `<rect x="${x}" y="${top}" width="${CELL.width - 1}" height="${CELL.height - 1}" fill="${fill}"`;
      if (!candidate) return [`${rectangle(LACKING)}/>`];
      const share = candidate.rate / peak;
      return [
        `${rectangle(colour(share))}><title>` +
          `${escapeXml(`${column}: ${(100 * share).toFixed(1)} % of the peak`)}</title></rect>`,
        `<text x="${x + CELL.width / 2}" y="${top + 15}" text-anchor="middle" fill="${share > 0.75 ? '#fff' : '#111'}"` +
          `${candidate.rate === best ? ' font-weight="700" text-decoration="underline"' : ''}>` +
          `${format(candidate.rate)}</text>`,
      ];
    });
    const texts = labels.cells[i].map(
      (text, place) => `<text x="${labels.starts[place]}" y="${top + 15}">${escapeXml(text)}</text>`,
    );
    return [...texts, ...cells];
  });
  const bottom = height - MARGIN.bottom;
  return svgDocument({ width, height, title, left: MARGIN.left }, [
    `<text x="${MARGIN.left}" y="48" fill="#555">${escapeXml(note)}</text>`,
    `<text x="${MARGIN.left}" y="${MARGIN.top - 8}" fill="#555">m × n × k</text>`,
    ...titles(columns, left),
    ...lines,
    `<text x="${MARGIN.left}" y="${bottom + 22}" fill="#555">The fastest of a row is underlined. Full colour is the peak, ` +
      `${format(peak)}, or more.</text>`,
    `<text x="${MARGIN.left}" y="${bottom + 40}" fill="#555">Grey: no kernel of this column computed the product.</text>`,
  ]);
}
