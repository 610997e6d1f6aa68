import { z } from 'zod';
import { isArrayLike, taken } from '../models/argument_schemas';
import { checkLearningRate } from '../models/learning_rates';
import { parseConfig } from '../models/validation';
import { line, scaleLinear } from './d3';
import { escapeXml, svgDocument } from './svg';
import { textTable } from './table';

/** Learning rates to show; `scheduleOf` returns this form. */
export interface PlottedSchedule {
  /** The rate of every step; the first is that of step 1. */
  readonly rates: ArrayLike<number>;
  /** Ranges of steps: from the one after `start` up to `end`. */
  readonly phases: readonly {
    /** Name of the phase, such as `warmup`. */
    readonly name: string;
    /** Number of steps before its first one. */
    readonly start: number;
    /** Number of steps up to and including its last one. */
    readonly end: number;
  }[];
}

/** How to draw a schedule. */
export interface ScheduleSvgOptions {
  /** Heading of the picture. */
  readonly title: string;
}

const scheduleSchema = z.strictObject({
  rates: taken<ArrayLike<number>>(isArrayLike, 'an array of rates'),
  phases: z.array(z.looseObject({ name: z.string(), start: z.number(), end: z.number() })),
});
const optionsSchema = z.strictObject({ title: z.string() });

const WIDTH = 800;
const HEIGHT = 360;
const MARGIN = { top: 66, right: 24, bottom: 52, left: 72 } as const;
const LINE = '#1f77b4';
const BANDS = ['#eef4fa', '#fff'] as const;
/** Approximate width of a character, to decide which names fit. */
const CHARACTER = 7;
/** Columns of the picture; the curve has points for each. */
const COLUMNS = 700;

/**
 * Draws a schedule as SVG text: the learning rate by step, over bands that mark its phases.
 *
 * @param schedule - what to draw; `scheduleOf` gives it.
 * @param options - its title.
 * @returns an SVG document of 800 by 360 units.
 * @throws TesseraeError `ERR_CONFIG` for a rate that is negative or not finite, with its step, and for a wrong option.
 */
export function scheduleSvg(schedule: PlottedSchedule, options: ScheduleSvgOptions): string {
  const { rates, phases } = parseConfig(scheduleSchema, schedule, { whole: 'schedule' });
  const { title } = parseConfig(optionsSchema, options);
  let highest = 0;
  for (let i = 0; i < rates.length; i++) {
    const rate = rates[i];
    checkLearningRate(rate, i + 1);
    highest = Math.max(highest, rate);
  }
  const [left, right, top, bottom] = [MARGIN.left, WIDTH - MARGIN.right, MARGIN.top, HEIGHT - MARGIN.bottom];
  // Half a step of room on both sides: a phase is as wide as it has steps.
  const x = scaleLinear([0.5, Math.max(1, rates.length) + 0.5], [left, right]);
  const y = scaleLinear([0, highest || 1], [bottom, top]).nice();
  const points = telling(rates, phases);
  const path = line<number>(
    (index) => x(index + 1),
    (index) => y(rates[index] ?? 0),
  ).digits(2)(points);

  const bands = phases.flatMap(({ name, start, end }, i) => {
    const [from, to] = [x(start + 0.5), x(end + 0.5)];
    const fits = to - from > name.length * CHARACTER;
    return [
      `<rect x="${from.toFixed(1)}" y="${top}" width="${(to - from).toFixed(1)}" height="${bottom - top}" ` +
        `fill="${BANDS[i % 2]}"/>`,
      ...(fits
        ? [
            `<text x="${((from + to) / 2).toFixed(1)}" y="${top - 8}" text-anchor="middle" fill="#666">` +
              `${escapeXml(name)}</text>`,
          ]
        : []),
    ];
  });
  const yTicks = y.ticks(5).map((tick) => {
    const at = y(tick).toFixed(1);
    return (
      `<line x1="${left}" x2="${right}" y1="${at}" y2="${at}" stroke="#e4e4e4"/>` +
      `<text x="${left - 8}" y="${at}" dy="0.32em" text-anchor="end">${formatRate(tick)}</text>`
    );
  });
  const xTicks = x
    .ticks(8)
    .filter((tick) => Number.isInteger(tick) && tick >= 1)
    .map((tick) => `<text x="${x(tick).toFixed(1)}" y="${bottom + 20}" text-anchor="middle">${tick}</text>`);

  return svgDocument({ width: WIDTH, height: HEIGHT, title, left }, [
    ...bands,
    ...yTicks,
    ...xTicks,
    `<line x1="${left}" x2="${right}" y1="${bottom}" y2="${bottom}" stroke="#333"/>`,
    `<text x="${(left + right) / 2}" y="${HEIGHT - 10}" text-anchor="middle">step</text>`,
    `<text transform="translate(18 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">learning rate</text>`,
    ...(rates.length === 0
      ? [`<text x="${(left + right) / 2}" y="${(top + bottom) / 2}" text-anchor="middle">no steps</text>`]
      : []),
    ...(path === null
      ? []
      : [`<path d="${path}" fill="none" stroke="${LINE}" stroke-width="1.6" stroke-linejoin="round"/>`]),
  ]);
}

/** A table of a schedule's phases for a terminal: which steps, and the rates of the first and the last of them. */
export function scheduleText({ rates, phases }: PlottedSchedule): string {
  const rows = phases.map(({ name, start, end }) => [
    name,
    start + 1 === end ? `${end}` : `${start + 1} – ${end}`,
    formatRate(rates[start] ?? NaN),
    formatRate(rates[end - 1] ?? NaN),
  ]);
  return textTable(
    [
      { title: 'phase' },
      { title: 'steps', align: 'right' },
      { title: 'first rate', align: 'right' },
      { title: 'last rate', align: 'right' },
    ],
    rows,
  );
}

/** At most four digits, with an exponent for small numbers: `6e-4`, `0.05`. */
function formatRate(rate: number): string {
  const short = Number(rate.toPrecision(4));
  return short === 0 || short >= 0.01 ? String(short) : short.toExponential();
}

/**
 * Indices of the rates to draw, in order: the ends of phases, and the lowest and highest rate of each column, so that a peak in
 * a long run is visible.
 */
function telling(rates: ArrayLike<number>, phases: PlottedSchedule['phases']): number[] {
  const chosen = new Set(phases.flatMap(({ start, end }) => [start, end - 1]));
  const columns = Math.min(COLUMNS, rates.length);
  for (let column = 0; column < columns; column++) {
    const from = Math.floor((column * rates.length) / columns);
    const to = Math.floor(((column + 1) * rates.length) / columns);
    let [least, highest] = [from, from];
    for (let i = from; i < to; i++) {
      if ((rates[i] ?? 0) < (rates[least] ?? 0)) least = i;
      if ((rates[i] ?? 0) > (rates[highest] ?? 0)) highest = i;
    }
    chosen.add(least).add(highest);
  }
  return [...chosen].filter((index) => index < rates.length).sort((a, b) => a - b);
}
