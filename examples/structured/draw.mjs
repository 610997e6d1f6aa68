// @ts-check
// The pictures of samples and of rates.
import { scaleLinear } from 'd3-scale';
import { line } from 'd3-shape';
import { HEIGHT, KINDS, WIDTH } from './plans.mjs';

/** @typedef {readonly import('./plans.mjs').Room[] | undefined} Plan - undefined: tokens that are no plan. */
/** @typedef {{ temperature: number, without: Plan[], masked: Plan[], rates: number[] }} Row - rates in [0, 1]. */

const CELL = 4;
const COLORS = ['#f4d58d', '#e99a7b', '#a9cbb7', '#8fb3d9']; // of KINDS
const [PITCH_X, PITCH_Y] = [WIDTH * CELL + 10, HEIGHT * CELL + 10];
const [LEFT, TOP] = [56, 76];

/**
 * A row of samples for each temperature, those without mask on the left.
 *
 * @param {readonly Row[]} rows
 * @param {number} columns - samples of each kind in a row.
 */
export function samplesSvg(rows, columns) {
  const middle = LEFT + columns * PITCH_X + 14;
  const drawn = rows.flatMap(({ temperature, without, masked }, row) => {
    const top = TOP + row * PITCH_Y;
    const halves = [...without.slice(0, columns), ...masked.slice(0, columns)];
    const left = (/** @type {number} */ i) => (i < columns ? LEFT : middle) + (i % columns) * PITCH_X;
    return [
      text(LEFT - 12, top + 28, temperature, 'end'),
      ...halves.map((plan, i) => planSvg(plan, left(i), top)),
    ];
  });
  const legend = KINDS.map((kind, i) => {
    const x = middle + 120 + i * 80;
    return `<rect x="${x}" y="16" width="12" height="12" fill="${COLORS[i]}" stroke="#333"/>${text(x + 18, 26, kind)}`;
  });
  const heads = [text(LEFT, TOP - 14, 'without mask'), text(middle, TOP - 14, 'with mask')];
  const width = middle + columns * PITCH_X;
  return svg(width, TOP + rows.length * PITCH_Y, 'Floor plans at five temperatures', [
    ...legend,
    ...heads,
    ...drawn,
  ]);
}

/** @param {Plan} plan @param {number} left @param {number} top */
function planSvg(plan, left, top) {
  const [right, below] = [WIDTH * CELL, HEIGHT * CELL];
  const house = `<path d="M0 0h${right}v${below}h-${right}z" fill="none" stroke="${plan ? '#333' : '#ccc'}"/>`;
  const rooms = plan?.map(({ kind, x, y, width, height }) => {
    const box = [x, y, width, height].map((cells) => cells * CELL);
    return `<path d="M${box[0]} ${box[1]}h${box[2]}v${box[3]}h-${box[2]}z" fill="${COLORS[KINDS.indexOf(kind)]}"/>`;
  });
  const cross = `<path d="M0 0L${right} ${below}M0 ${below}L${right} 0" stroke="#ccc"/>`;
  // Half transparent: where rooms overlap, both are seen.
  const content = `${rooms?.join('') ?? cross}${house}`;
  return `<g transform="translate(${left} ${top})" stroke="#333" fill-opacity="0.7">${content}</g>`;
}

/**
 * Each rate by temperature; the first of two is dashed.
 *
 * @param {readonly Row[]} rows
 * @param {readonly string[]} names - of the rates.
 */
export function ratesSvg(rows, names) {
  const temperatures = rows.map(({ temperature }) => temperature);
  const x = scaleLinear([Math.min(...temperatures), Math.max(...temperatures)], [60, 480]);
  const y = scaleLinear([0, 1], [300, 50]);
  const grid = y.ticks(5).map((share) => {
    const name = text(52, y(share) + 4, `${Math.round(100 * share)} %`, 'end');
    return `<path d="M60 ${y(share)}H480" stroke="#e4e4e4"/>${name}`;
  });
  const ticks = x.ticks(6).map((temperature) => text(x(temperature), 320, temperature, 'middle'));
  const curves = names.map((name, i) => {
    const path = line(
      (/** @type {Row} */ row) => x(row.temperature),
      (row) => y(row.rates[i] ?? 0),
    ).digits(1);
    const dash = i % 2 === 0 ? ' stroke-dasharray="5 4"' : '';
    const pen = `stroke="${i < 2 ? '#1f77b4' : '#ff7f0e'}" stroke-width="2"${dash}`;
    const key = `<path d="M500 ${66 + 22 * i}h26" ${pen}/>${text(532, 70 + 22 * i, name)}`;
    return `<path d="${path([...rows])}" fill="none" ${pen}/>${key}`;
  });
  const axis = text(270, 342, 'temperature', 'middle');
  return svg(640, 350, 'Share of samples', [...grid, ...ticks, axis, ...curves]);
}

/** @param {number} x @param {number} y @param {string | number} content */
const text = (x, y, content, anchor = 'start') =>
  `<text x="${x}" y="${y}" text-anchor="${anchor}">${content}</text>`;

/** @param {number} width @param {number} height @param {string} title @param {readonly string[]} content */
const svg = (width, height, title, content) => `<svg xmlns="http://www.w3.org/2000/svg"
  viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="12" fill="#333">
<rect width="${width}" height="${height}" fill="#fff"/>
<text x="12" y="27" font-size="16" font-weight="600">${title}</text>
${content.join('\n')}
</svg>
`;
