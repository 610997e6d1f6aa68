import asciichart from 'asciichart';
import { createColors } from 'picocolors';
import { z } from 'zod';
import { taken } from '../models/argument_schemas';
import { parseConfig } from '../models/validation';
import { line, scaleLinear } from './d3';
import { svgDocument } from './svg';
import { largestOf, smallestOf } from '../models/extremes';

/** One point of a loss curve: the loss after `step` optimizer steps. */
export interface LossPoint {
  /** Number of optimizer steps before it. */
  readonly step: number;
  /** Mean loss per target, in nats. */
  readonly loss: number;
}

const WIDTH = 800;
const HEIGHT = 450;
const MARGIN = { top: 48, right: 24, bottom: 52, left: 64 } as const;
const TRAINING = '#1f77b4';
const VALIDATION = '#ff7f0e';

const svgSchema = z.strictObject({ title: z.string() });
const terminalSchema = z.strictObject({
  width: z.int().min(1).max(10_000).default(80),
  height: z.int().min(1).max(1000).default(12),
  color: z.boolean().default(true),
});
/** Losses that aren't finite are left out when the curve is drawn. */
const pointsSchema = taken<readonly LossPoint[]>(
  (value) =>
    Array.isArray(value) && value.every((point) => typeof (point as LossPoint | null)?.step === 'number'),
  'an array of { step, loss }',
);

function checkPoints(points: unknown, validation: unknown): void {
  parseConfig(pointsSchema, points, { at: 'points' });
  parseConfig(pointsSchema, validation, { at: 'validation' });
}

/** More points than this can't be distinguished in the picture, so neighbours are averaged. */
const MOST_POINTS = 600;

/**
 * Draws a loss curve as SVG text: the training loss as a line and the validation loss as a line with a mark for each
 * evaluation. Points that aren't finite are left out.
 *
 * @param points - the training loss, by ascending steps.
 * @param validation - the validation loss, by ascending steps; may be empty.
 * @param options - `title` is the heading of the picture.
 * @returns an SVG document of 800 by 450 units.
 * @throws TesseraeError `ERR_CONFIG` for what are no points, and for a wrong option.
 *
 * @example
 * const lines = await readMetrics('runs/book/metrics.jsonl');
 * const points = lines.flatMap((line) => (line.type === 'step' ? [{ step: line.step, loss: line.loss ?? NaN }] : []));
 * await writeFile('loss.svg', lossCurveSvg(points, [], { title: 'book' }));
 */
export function lossCurveSvg(
  points: readonly LossPoint[],
  validation: readonly LossPoint[],
  options: { title: string },
): string {
  checkPoints(points, validation);
  const { title } = parseConfig(svgSchema, options);
  const training = thin(finite(points), MOST_POINTS);
  const evaluations = finite(validation);
  const all = [...training, ...evaluations];
  const [left, right, top, bottom] = [MARGIN.left, WIDTH - MARGIN.right, MARGIN.top, HEIGHT - MARGIN.bottom];
  const x = scaleLinear(extent(all.map(({ step }) => step)), [left, right]);
  const y = scaleLinear(extent(all.map(({ loss }) => loss)), [bottom, top]).nice();
  const path = line<LossPoint>(
    ({ step }) => x(step),
    ({ loss }) => y(loss),
  ).digits(2);

  const yTicks = y.ticks(6).map((tick) => {
    const at = y(tick).toFixed(1);
    return (
      `<line x1="${left}" x2="${right}" y1="${at}" y2="${at}" stroke="#e4e4e4"/>` +
      `<text x="${left - 8}" y="${at}" dy="0.32em" text-anchor="end">${y.tickFormat(6)(tick)}</text>`
    );
  });
  const xTicks = x
    .ticks(8)
    .filter((tick) => Number.isInteger(tick))
    .map((tick) => `<text x="${x(tick).toFixed(1)}" y="${bottom + 20}" text-anchor="middle">${tick}</text>`);
  const curve = (of: readonly LossPoint[], color: string): string =>
    `<path d="${path(of) ?? ''}" fill="none" stroke="${color}" stroke-width="1.6" stroke-linejoin="round"/>`;
  const marks = evaluations.map(
    ({ step, loss }) =>
      `<circle cx="${x(step).toFixed(1)}" cy="${y(loss).toFixed(1)}" r="3" fill="${VALIDATION}"/>`,
  );
  const legend = [
    ...(training.length > 0 ? [['training', TRAINING] as const] : []),
    ...(evaluations.length > 0 ? [['validation', VALIDATION] as const] : []),
  ].map(
    ([name, color], i) =>
      `<rect x="${right - 100}" y="${top + 8 + 20 * i}" width="14" height="4" fill="${color}"/>` +
      `<text x="${right - 78}" y="${top + 10 + 20 * i}" dy="0.32em">${name}</text>`,
  );

  return svgDocument({ width: WIDTH, height: HEIGHT, title, left }, [
    ...yTicks,
    ...xTicks,
    `<line x1="${left}" x2="${right}" y1="${bottom}" y2="${bottom}" stroke="#333"/>`,
    `<text x="${(left + right) / 2}" y="${HEIGHT - 10}" text-anchor="middle">step</text>`,
    `<text transform="translate(18 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">loss (nats per token)</text>`,
    ...(all.length === 0
      ? [`<text x="${(left + right) / 2}" y="${(top + bottom) / 2}" text-anchor="middle">no data</text>`]
      : []),
    ...(training.length > 0 ? [curve(training, TRAINING)] : []),
    ...(evaluations.length > 0 ? [curve(evaluations, VALIDATION), ...marks] : []),
    ...legend,
  ]);
}

/** How to draw a curve in a terminal. */
export interface TerminalOptions {
  /** Columns to use, labels included, 1 to 10,000. Default 80. */
  readonly width?: number;
  /** Rows of the chart, 1 to 1000. Default 12. */
  readonly height?: number;
  /** Whether to use colours; without them only the training loss is drawn. Default true. */
  readonly color?: boolean;
}

/**
 * Draws a loss curve with characters.
 *
 * @param points - the training loss, by ascending steps.
 * @param validation - the validation loss, by ascending steps; may be empty.
 * @param options - size and colour.
 * @returns lines of text; an empty string if there are fewer than two steps.
 * @throws TesseraeError `ERR_CONFIG` for what are no points, and for a wrong option.
 */
export function lossCurveTerminal(
  points: readonly LossPoint[],
  validation: readonly LossPoint[],
  options: TerminalOptions = {},
): string {
  checkPoints(points, validation);
  const { width, height, color } = parseConfig(terminalSchema, options);
  const training = finite(points);
  const evaluations = finite(validation);
  const first = training[0];
  const last = training.at(-1);
  if (!first || !last || last.step === first.step) return '';
  const labelWidth = 8;
  const columns = Math.max(10, width - labelWidth - 3);
  const steps = Array.from(
    { length: columns },
    (_, i) => first.step + ((last.step - first.step) * i) / (columns - 1),
  );
  const losses = resample(thin(training, columns), steps);
  const withValidation = color && evaluations.length > 0;
  const curves = [losses];
  if (withValidation) {
    // Drawn first. Before the first evaluation it has the values of the training loss, which hides it.
    const begin = evaluations[0]?.step ?? 0;
    const values = resample(evaluations, steps);
    curves.unshift(values.map((value, i) => ((steps[i] ?? 0) < begin ? (losses[i] ?? value) : value)));
  }

  const chart = asciichart.plot(curves, {
    height: height - 1,
    colors: color ? [...(withValidation ? [asciichart.yellow] : []), asciichart.blue] : [],
    format: (value) => value.toFixed(value < 10 ? 3 : 1).padStart(labelWidth),
  });
  const [from, to] = [`step ${first.step}`, String(last.step)];
  const axis = `${' '.repeat(labelWidth)}${from}${to.padStart(columns + 2 - from.length)}`;
  const paint = createColors(color);
  const names = [paint.blue('training loss'), ...(withValidation ? [paint.yellow('validation loss')] : [])];
  return [`${' '.repeat(labelWidth)}${names.join('  ')}`, chart, axis].join('\n');
}

const finite = (points: readonly LossPoint[]): LossPoint[] =>
  points.filter(({ step, loss }) => Number.isFinite(step) && Number.isFinite(loss));

/** At most `most` points: means of neighbours, so that noise averages out. */
function thin(points: readonly LossPoint[], most: number): LossPoint[] {
  if (points.length <= most) return [...points];
  return Array.from({ length: most }, (_, i) => {
    const group = points.slice(
      Math.floor((i * points.length) / most),
      Math.floor(((i + 1) * points.length) / most),
    );
    const mean = (of: (point: LossPoint) => number): number =>
      group.reduce((sum, point) => sum + of(point), 0) / group.length;
    return { step: mean(({ step }) => step), loss: mean(({ loss }) => loss) };
  });
}

/** The curve's values at increasing steps: linear between its points, constant beyond them. */
function resample(points: readonly LossPoint[], steps: readonly number[]): number[] {
  let next = 0;
  return steps.map((step) => {
    while (next < points.length && (points[next]?.step ?? 0) < step) next++;
    const after = points[Math.min(next, points.length - 1)];
    const before = points[Math.max(next - 1, 0)];
    if (!before || !after) return NaN;
    const span = after.step - before.step;
    const part = span > 0 ? Math.min(1, Math.max(0, (step - before.step) / span)) : 1;
    return before.loss + part * (after.loss - before.loss);
  });
}

function extent(values: readonly number[]): [number, number] {
  if (values.length === 0) return [0, 1];
  // A single point needs an axis too.
  const [low, high] = [smallestOf(values), largestOf(values)];
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}
