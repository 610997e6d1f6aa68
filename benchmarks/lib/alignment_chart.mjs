// Rates of matrix products by the alignment of their weight: a panel for each width, a line for each precision.
import { scaleLinear, scalePoint } from 'd3-scale';
import { line } from 'd3-shape';
import { escapeXml, svgDocument } from '../../dist/report/svg.js';
import { ALIGNMENTS, RULES } from './alignment.mjs';

const PANEL = { width: 372, height: 300 };
const MARGIN = { top: 118, right: 24, bottom: 84, left: 56 };
const COLOURS = { bf16: '#1f77b4', fp16: '#d95f02', tf32: '#2ca02c', fp32: '#7b52ab' };
const INNER = { width: PANEL.width - MARGIN.left, height: PANEL.height };

const x = scalePoint(ALIGNMENTS, [MARGIN.left + 10, PANEL.width - 14]);

function axes(width, y, format) {
  const bottom = MARGIN.top + INNER.height;
  return [
    `<text x="${MARGIN.left}" y="${MARGIN.top - 12}" font-weight="600">weight of about ${width} × ${width}</text>`,
    ...y
      .ticks(6)
      .map(
        (rate) =>
          `<line x1="${MARGIN.left}" x2="${PANEL.width}" y1="${y(rate).toFixed(1)}" y2="${y(rate).toFixed(1)}" stroke="#ddd"/>` +
          `<text x="${MARGIN.left - 6}" y="${y(rate).toFixed(1)}" dy="0.32em" text-anchor="end" fill="#555">${rate === 0 ? 0 : format(rate)}</text>`,
      ),
    ...ALIGNMENTS.map(
      (alignment) =>
        `<text x="${x(alignment).toFixed(1)}" y="${bottom + 18}" text-anchor="middle" fill="#555">${alignment}</text>`,
    ),
  ];
}

/** The line of one precision: its fastest kernel with dots, and cuBLASLt's first choice dashed. */
function lines({ precision, points }, y, format) {
  const colour = COLOURS[precision];
  const path = (key) =>
    line(
      ({ alignment }) => x(alignment),
      (point) => y(point[key]),
    ).digits(1)(points.filter((point) => point[key] !== undefined));
  const first = path('first');
  return [
    ...(first
      ? [`<path d="${first}" fill="none" stroke="${colour}" stroke-width="1.5" stroke-dasharray="4 4"/>`]
      : []),
    `<path d="${path('best')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
    ...points.map(({ alignment, best, by }) => {
      const isRule = RULES[precision]?.includes(alignment);
      const style = isRule
        ? `r="5.5" fill="#fff" stroke="${colour}" stroke-width="2.5"`
        : `r="3" fill="${colour}"`;
      return (
        `<circle cx="${x(alignment).toFixed(1)}" cy="${y(best).toFixed(1)}" ${style}>` +
        `<title>${escapeXml(`${precision}, ${alignment}: ${format(best)} by ${by}`)}</title></circle>`
      );
    }),
  ];
}

function legend(precisions) {
  const at = (i) => MARGIN.left + i * 66;
  const names = precisions.map(
    (precision, i) =>
      `<rect x="${at(i)}" y="64" width="12" height="12" fill="${COLOURS[precision]}"/>` +
      `<text x="${at(i) + 18}" y="74">${precision}</text>`,
  );
  const from = at(precisions.length) + 8;
  return [
    ...names,
    `<line x1="${from}" x2="${from + 26}" y1="70" y2="70" stroke="#333" stroke-width="2"/>`,
    `<text x="${from + 32}" y="74">fastest kernel</text>`,
    `<line x1="${from + 130}" x2="${from + 156}" y1="70" y2="70" stroke="#333" stroke-width="1.5" stroke-dasharray="4 4"/>`,
    `<text x="${from + 162}" y="74">cuBLASLt’s first choice</text>`,
    `<circle cx="${from + 324}" cy="70" r="5.5" fill="#fff" stroke="#333" stroke-width="2.5"/>`,
    `<text x="${from + 336}" y="74">the rule</text>`,
  ];
}

/**
 * SVG text.
 *
 * @param {ReturnType<typeof import('./alignment.mjs').alignmentSeries>} series
 * @param {{ title: string, note: string, format: (rate: number) => string }} options
 */
export function alignmentChart(series, { title, note, format }) {
  const widths = [...new Set(series.map(({ width }) => width))];
  const precisions = Object.keys(COLOURS).filter((name) =>
    series.some(({ precision }) => precision === name),
  );
  const highest = Math.max(...series.flatMap(({ points }) => points.map(({ best }) => best)));
  const y = scaleLinear([0, highest], [MARGIN.top + INNER.height, MARGIN.top]).nice();
  const panels = widths.map((width, i) =>
    [
      `<g transform="translate(${i * PANEL.width} 0)">`,
      ...axes(width, y, format),
      ...series.filter((one) => one.width === width).flatMap((one) => lines(one, y, format)),
      '</g>',
    ].join('\n'),
  );
  const height = MARGIN.top + INNER.height + MARGIN.bottom;
  const full = Math.max(2, widths.length) * PANEL.width + MARGIN.right;
  return svgDocument({ width: full, height, title, left: 24 }, [
    `<text x="24" y="48" fill="#555">${escapeXml(note)}</text>`,
    ...legend(precisions),
    ...panels,
    `<text x="24" y="${height - 32}" fill="#555">x: the highest power of two that divides both extents of the weight</text>`,
    `<text x="24" y="${height - 14}" fill="#555">the rule: multiples of 4, better 32, for tf32; of 8, better 64, for bf16 ` +
      'and fp16</text>',
  ]);
}
