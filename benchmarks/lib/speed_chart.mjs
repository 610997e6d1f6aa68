// A bar for each comparison of the README: tesserae's speed as a multiple of PyTorch's.
import { scaleLinear } from 'd3-scale';
import { comparisons, shortCount } from './comparisons.mjs';

const WIDTH = 800;
const ROW = 46;
const MARGIN = { top: 58, right: 28, bottom: 34, left: 28 };
const BAR = '#1f77b4';
const PEER = '#d62728';

const escapeXml = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;');

/** SVG text. */
export function speedChart(results) {
  const all = comparisons(results);
  const height = MARGIN.top + all.length * ROW + MARGIN.bottom;
  const x = scaleLinear(
    [0, Math.max(...all.map(({ ratio }) => ratio)) * 1.08],
    [MARGIN.left, WIDTH - MARGIN.right],
  );
  const at = (value) => x(value).toFixed(1);
  const bars = all.flatMap(({ kind, title, own, peer, ratio }, i) => {
    const y = MARGIN.top + i * ROW;
    return [
      `<text x="${MARGIN.left}" y="${y + 12}">${kind}: ${escapeXml(title)}</text>`,
      `<text x="${WIDTH - MARGIN.right}" y="${y + 12}" text-anchor="end" fill="#666">` +
        `${shortCount(own)} against ${shortCount(peer)} tokens/s</text>`,
      `<rect x="${MARGIN.left}" y="${y + 18}" width="${(x(ratio) - MARGIN.left).toFixed(1)}" height="16" fill="${BAR}"/>`,
      `<line x1="${at(1)}" x2="${at(1)}" y1="${y + 16}" y2="${y + 36}" stroke="${PEER}" stroke-width="2"/>`,
      `<text x="${(x(ratio) + 6).toFixed(1)}" y="${y + 30.5}" font-weight="600">${ratio.toFixed(2)} ×</text>`,
    ];
  });
  const bottom = height - MARGIN.bottom;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" ` +
      'font-family="system-ui, sans-serif" font-size="12" fill="#333">',
    '<title>tesserae’s speed as a multiple of the best peer’s in the same run</title>',
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="${MARGIN.left}" y="28" font-size="16" font-weight="600">Speed as a multiple of PyTorch’s and transformers’ in the same run</text>`,
    ...bars,
    `<text x="${at(1)}" y="${bottom + 16}" text-anchor="middle" fill="${PEER}">the peer, 1 ×</text>`,
    '</svg>',
    '',
  ].join('\n');
}
