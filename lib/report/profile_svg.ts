import { scaleLinear } from './d3';
import { formatSeconds } from './format';
import { KINDS, sumCalls, sumKinds, type Kind, type Profile } from './profile';
import { escapeXml, svgDocument } from './svg';
import { largestOf } from '../models/extremes';

const WIDTH = 800;
const ROW = 22;
const MARGIN = { top: 48, right: 90, bottom: 24, left: 220 } as const;
const COLORS: Readonly<Record<Kind, string>> = {
  GEMM: '#1f77b4',
  attention: '#ff7f0e',
  'memory-bound': '#2ca02c',
  optimizer: '#9467bd',
};

/**
 * Draws where the time of a step goes, as SVG text: a bar for each operation, coloured by kind, with a mark at its roofline
 * time, and below a bar of the whole step.
 */
export function profileSvg(profile: Profile, { title }: { title: string }): string {
  const operations = sumCalls(profile.calls, ({ operation }) => [operation]).sort(
    (a, b) => b.seconds - a.seconds,
  );
  const kinds = sumKinds(profile.calls);
  const longest = largestOf(operations.map(({ seconds }) => seconds));
  const x = scaleLinear([0, longest], [0, WIDTH - MARGIN.left - MARGIN.right]);
  const rows = operations.map(({ name, kind, seconds, plannedSeconds }, i) => {
    const y = MARGIN.top + i * ROW;
    const mark =
      plannedSeconds === undefined
        ? ''
        : `<rect x="${(MARGIN.left + x(Math.min(plannedSeconds, seconds)) - 1).toFixed(1)}" y="${y}" width="2" ` +
          `height="${ROW - 6}" fill="#000"/>`;
    return (
      `<text x="${MARGIN.left - 8}" y="${y + ROW / 2 - 3}" dy="0.32em" text-anchor="end">${escapeXml(name)}</text>` +
      `<rect x="${MARGIN.left}" y="${y}" width="${x(seconds).toFixed(1)}" height="${ROW - 6}" fill="${COLORS[kind]}"/>` +
      mark +
      `<text x="${(MARGIN.left + x(seconds) + 6).toFixed(1)}" y="${y + ROW / 2 - 3}" dy="0.32em">` +
      `${formatSeconds(seconds)}</text>`
    );
  });
  const bottom = MARGIN.top + operations.length * ROW + 16;
  const part = scaleLinear([0, profile.operationSeconds], [0, WIDTH - 48]);
  let before = 0;
  const whole = kinds.map(({ kind, seconds }) => {
    const from = 24 + part(before);
    before += seconds;
    return (
      `<rect x="${from.toFixed(1)}" y="${bottom}" width="${part(seconds).toFixed(1)}" height="18" ` +
      `fill="${COLORS[kind]}"/>`
    );
  });
  const legend = KINDS.map((kind, i) => {
    const seconds = kinds.find((sum) => sum.kind === kind)?.seconds ?? 0;
    const at = 24 + i * 190;
    return (
      `<rect x="${at}" y="${bottom + 30}" width="12" height="12" fill="${COLORS[kind]}"/>` +
      `<text x="${at + 18}" y="${bottom + 36}" dy="0.32em">${kind} ${formatSeconds(seconds)}</text>`
    );
  });
  const height = bottom + 54 + MARGIN.bottom;
  const note =
    `a step in training takes ${formatSeconds(profile.stepSeconds)}` +
    (profile.chip === undefined ? '' : `; black marks: roofline time on ${profile.chip}`);
  return svgDocument({ width: WIDTH, height, title, left: 24 }, [
    ...rows,
    ...whole,
    ...legend,
    `<text x="24" y="${bottom + 60}" dy="0.32em" fill="#666">${escapeXml(note)}</text>`,
  ]);
}
