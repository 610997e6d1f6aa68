import { TesseraeError } from '../errors';
import { checkLearningRate } from '../models/learning_rates';
import {
  ENDS_AT_MINIMUM,
  KWARGS_DEFAULTS,
  KWARGS_OF,
  type LrScheduleFunction,
  type LrSchedulerKwargs,
  type LrSchedulerType,
} from './schedule_settings';

export interface ScheduleOptions {
  readonly type: LrSchedulerType | LrScheduleFunction;
  /** The highest rate; absent for a schedule that is a function. */
  readonly learningRate: number;
  /** The final rate of schedules of ENDS_AT_MINIMUM; 0 for others. */
  readonly minLearningRate: number;
  /** Steps of warmup, in [0, maxSteps]. */
  readonly warmupSteps: number;
  /** The first rate of warmup, at most learningRate. Default learningRate ÷ warmupSteps. */
  readonly warmupInitLearningRate?: number;
  readonly maxSteps: number;
  readonly kwargs?: LrSchedulerKwargs;
}

/** A phase of a schedule. */
export interface SchedulePhase {
  /** Its name, such as `warmup`. */
  readonly name: string;
  /** Number of steps applied before its first step. */
  readonly start: number;
  /** Number of steps applied after its last step. */
  readonly end: number;
}

interface Phase extends SchedulePhase {
  readonly rate: LrScheduleFunction;
  /** Set if the schedule changes the momentum. */
  readonly momentum?: LrScheduleFunction;
}

/**
 * The rate of every step s = 0 … maxSteps − 1, where s counts the steps applied before it.
 *
 * With W = warmupSteps, N = maxSteps, lr = learningRate and min = minLearningRate, every schedule except `oneCycle` starts
 * with warmup, s < W:
 * - lr · (s + 1) ÷ W, so that the first step already learns and step W − 1 has the full rate;
 * - with warmupInitLearningRate init, init + (lr − init) · s ÷ W (fairseq; Hugging Face with init = 0).
 *
 * Afterwards, with p = (s − W) ÷ (N − W), which is 0 at step W and would be 1 at step N, which is not run:
 * - `constant`: lr;
 * - `linear`: lr + (min − lr) · p;
 * - `cosine`: min + (lr − min) · (1 + cos(π p)) ÷ 2 (Loshchilov & Hutter 2017, equation 5, one period);
 * - `cosineWithRestarts`: the same of (numCycles · p) mod 1 instead of p;
 * - `polynomial`: min + (lr − min) · (1 − p)^power;
 * - `inverseSqrt`: lr ÷ √((s − W + timescale) ÷ timescale); with timescale = W it is lr · √(W ÷ s) (Vaswani et al. 2017);
 * - `warmupStableDecay`: lr, and in the last D = numDecaySteps steps min + (lr − min) · f(q) with q = (s − N + D) ÷ D and
 *   f(q) = (1 + cos(π q)) ÷ 2, 1 − q, or 1 − √q (Hägele et al. 2024);
 * - `oneCycle` (Smith & Topin 2017, as in PyTorch's OneCycleLR): from first = lr ÷ divFactor up to lr at s = r N − 1
 *   and down to first ÷ finalDivFactor at s = N − 1; with threePhase down to first at s = 2 r N − 2 in between. r is
 *   pctStart, or W ÷ N if there are warmupSteps. With cycleMomentum see momentumSchedule.
 *
 * @throws TesseraeError `ERR_CONFIG` for settings that don't go together, or for a rate that is negative or not finite; the
 * message names its step.
 */
export function learningRateSchedule(options: ScheduleOptions): Float32Array {
  const rates = new Float32Array(options.maxSteps);
  for (const { start, end, rate } of phasesOf(options)) {
    for (let step = start; step < end; step++) {
      const value: unknown = rate(step);
      checkLearningRate(value, step + 1);
      rates[step] = value;
    }
  }
  return rates;
}

/**
 * The momentum (Adam's beta 1) of every step s = 0 … maxSteps − 1 of a `oneCycle` with cycleMomentum. It follows the curve
 * of the rate: from maxMomentum down to baseMomentum while the rate rises, back while it falls, and maxMomentum from then on
 * (PyTorch's OneCycleLR). Undefined for a schedule that does not change the momentum.
 *
 * @throws TesseraeError `ERR_CONFIG` for settings that don't go together.
 */
export function momentumSchedule(options: ScheduleOptions): Float32Array | undefined {
  if (!options.kwargs?.cycleMomentum) return undefined;
  const momenta = new Float32Array(options.maxSteps);
  for (const { start, end, momentum } of phasesOf(options))
    for (let step = start; step < end; step++) momenta[step] = momentum?.(step) ?? 0;
  return momenta;
}

/**
 * The phases of a schedule. They cover 0 to maxSteps without gaps; none is empty.
 *
 * @throws TesseraeError `ERR_CONFIG` for settings that don't go together.
 */
export const schedulePhases = (options: ScheduleOptions): SchedulePhase[] =>
  phasesOf(options).map(({ name, start, end }) => ({ name, start, end }));

function phasesOf(options: ScheduleOptions): Phase[] {
  const { type, learningRate, warmupSteps, warmupInitLearningRate: init, maxSteps } = options;
  checkOptions(options);
  if (typeof type === 'function') return [{ name: 'custom', start: 0, end: maxSteps, rate: type }];
  const after = AFTER_WARMUP[type](options, { ...KWARGS_DEFAULTS, ...options.kwargs });
  const phases = type === 'oneCycle' ? after : [warmup(learningRate, warmupSteps, init), ...after];
  return phases.filter(({ start, end }) => start < end);
}

function warmup(learningRate: number, steps: number, init?: number): Phase {
  const rate =
    init === undefined
      ? (step: number) => (learningRate * (step + 1)) / steps
      : (step: number) => init + ((learningRate - init) * step) / steps;
  return { name: 'warmup', start: 0, end: steps, rate };
}

/** The settings of single schedules, with defaults. */
type Kwargs = LrSchedulerKwargs & Required<Pick<LrSchedulerKwargs, keyof typeof KWARGS_DEFAULTS>>;

/** The phases after warmup, by schedule. */
const AFTER_WARMUP: Readonly<Record<LrSchedulerType, (options: ScheduleOptions, kwargs: Kwargs) => Phase[]>> =
  {
    constant: ({ learningRate, warmupSteps, maxSteps }) => [
      { name: 'constant', start: warmupSteps, end: maxSteps, rate: () => learningRate },
    ],
    linear: (options) => [fall(options, 'decay', linear)],
    cosine: (options) => [fall(options, 'decay', halfCosine)],
    polynomial: (options, { power }) => [fall(options, 'decay', (part) => (1 - part) ** power)],
    cosineWithRestarts: (options, { numCycles }) => {
      const { warmupSteps, maxSteps } = options;
      const length = maxSteps - warmupSteps;
      // Divides integers last, so that a cycle that starts at a whole step starts there exactly.
      const rate = fallingRate(options, (step) =>
        halfCosine(((numCycles * (step - warmupSteps)) / length) % 1),
      );
      return Array.from({ length: numCycles }, (_, cycle) => ({
        name: `cycle ${cycle + 1}`,
        start: warmupSteps + Math.ceil((cycle * length) / numCycles),
        end: warmupSteps + Math.ceil(((cycle + 1) * length) / numCycles),
        rate,
      }));
    },
    inverseSqrt: ({ learningRate, warmupSteps, maxSteps }, { timescale = warmupSteps || 10_000 }) => [
      {
        name: 'decay',
        start: warmupSteps,
        end: maxSteps,
        rate: (step) => learningRate * Math.sqrt(timescale / (step - warmupSteps + timescale)),
      },
    ],
    warmupStableDecay: (options, { decayType, numDecaySteps }) => {
      const { learningRate, warmupSteps, maxSteps } = options;
      const decaySteps = numDecaySteps ?? Math.min(Math.ceil(maxSteps / 5), maxSteps - warmupSteps);
      const start = maxSteps - decaySteps;
      const forms = { cosine: halfCosine, linear, '1-sqrt': (part: number) => 1 - Math.sqrt(part) };
      return [
        { name: 'stable', start: warmupSteps, end: start, rate: () => learningRate },
        fall({ ...options, warmupSteps: start }, 'decay', forms[decayType]),
      ];
    },
    oneCycle,
  };

const linear = (part: number): number => 1 - part;
const halfCosine = (part: number): number => (1 + Math.cos(Math.PI * part)) / 2;

/** From learningRate, where `height` is 1, to minLearningRate, where it is 0. */
function fallingRate(
  { learningRate, minLearningRate }: ScheduleOptions,
  height: LrScheduleFunction,
): LrScheduleFunction {
  return (step) => minLearningRate + (learningRate - minLearningRate) * height(step);
}

/** One fall from warmup to the end; `height` is a function of the share of its steps applied so far. */
function fall(options: ScheduleOptions, name: string, height: (part: number) => number): Phase {
  const { warmupSteps: start, maxSteps: end } = options;
  return { name, start, end, rate: fallingRate(options, (step) => height((step - start) / (end - start))) };
}

function oneCycle(options: ScheduleOptions, kwargs: Kwargs): Phase[] {
  const { learningRate: highest, warmupSteps, maxSteps } = options;
  const { pctStart, divFactor, finalDivFactor, threePhase, annealStrategy } = kwargs;
  const height = annealStrategy === 'cos' ? halfCosine : linear;
  const riseSteps = warmupSteps > 0 ? warmupSteps : pctStart * maxSteps;
  const first = highest / divFactor;
  const least = first / finalDivFactor;
  const { baseMomentum: low, maxMomentum: high } = kwargs;
  // A phase need not end at a whole step; the next one starts where it ends.
  const turns = threePhase
    ? [
        { name: 'rise', arrival: riseSteps - 1, from: first, to: highest, momenta: [high, low] },
        { name: 'fall', arrival: 2 * riseSteps - 2, from: highest, to: first, momenta: [low, high] },
        { name: 'annihilation', arrival: maxSteps - 1, from: first, to: least, momenta: [high, high] },
      ]
    : [
        { name: 'rise', arrival: riseSteps - 1, from: first, to: highest, momenta: [high, low] },
        { name: 'fall', arrival: maxSteps - 1, from: highest, to: least, momenta: [low, high] },
      ];
  return turns.map(({ name, arrival, from, to, momenta: [before = high, after = high] }, i) => {
    const departure = turns[i - 1]?.arrival ?? 0;
    const duration = arrival - departure;
    const left = (step: number): number => (duration === 0 ? 0 : height((step - departure) / duration));
    return {
      name,
      start: i === 0 ? 0 : Math.max(0, Math.floor(departure) + 1),
      end: Math.max(0, Math.floor(arrival) + 1),
      rate: (step) => to + (from - to) * left(step),
      momentum: (step) => after + (before - after) * left(step),
    };
  });
}

function checkOptions(options: ScheduleOptions): void {
  const { type, learningRate, minLearningRate, warmupSteps, maxSteps, kwargs = {} } = options;
  const init = options.warmupInitLearningRate;
  const name = typeof type === 'function' ? 'a schedule of your own' : `'${type}'`;
  const known = typeof type === 'function' ? [] : KWARGS_OF[type];
  for (const key of Object.keys(kwargs) as (keyof LrSchedulerKwargs)[]) {
    if (kwargs[key] === undefined || known.includes(key)) continue;
    const owners = Object.entries(KWARGS_OF).filter(([, keys]) => keys.includes(key));
    refuse(
      `lrSchedulerKwargs.${key}`,
      `belongs to ${owners.map(([owner]) => `'${owner}'`).join(', ')}, but lrScheduler is ${name}: leave it out`,
    );
  }
  if (warmupSteps > maxSteps)
    refuse(
      'warmupSteps',
      `${warmupSteps} is more than maxSteps ${maxSteps}: warm up for part of the run, such as ` +
        `${Math.floor(maxSteps / 10)}`,
    );
  if (typeof type === 'function' && warmupSteps > 0)
    refuse(
      'warmupSteps',
      `${warmupSteps} has no effect with ${name}: leave it out, and write the warmup into the function`,
    );
  if (typeof type === 'function' || !ENDS_AT_MINIMUM.includes(type)) {
    if (minLearningRate > 0)
      refuse('minLearningRate', `${minLearningRate} has no effect with ${name}: leave it out`);
  } else if (minLearningRate > learningRate)
    refuse(
      'minLearningRate',
      `${minLearningRate} is above learningRate ${learningRate}: the rate can only fall`,
    );
  if (init !== undefined) {
    if (type === 'oneCycle')
      refuse('warmupInitLearningRate', `${init} has no effect with ${name}: set lrSchedulerKwargs.divFactor`);
    if (warmupSteps === 0)
      refuse(
        'warmupInitLearningRate',
        `${init} has no effect without warmup: set warmupSteps, or leave it out`,
      );
    if (init > learningRate)
      refuse('warmupInitLearningRate', `${init} is above learningRate ${learningRate}: warmup can only rise`);
  }
  checkKwargs(options, kwargs);
}

function checkKwargs({ warmupSteps, maxSteps }: ScheduleOptions, kwargs: LrSchedulerKwargs): void {
  const { pctStart, threePhase, numDecaySteps, cycleMomentum, baseMomentum, maxMomentum } = kwargs;
  for (const [key, value] of Object.entries({ baseMomentum, maxMomentum }))
    if (value !== undefined && !cycleMomentum)
      refuse(
        `lrSchedulerKwargs.${key}`,
        `${value} has no effect without cycleMomentum: set cycleMomentum, or leave this out`,
      );
  const { baseMomentum: low, maxMomentum: high } = { ...KWARGS_DEFAULTS, ...kwargs };
  if (low > high)
    refuse(
      'lrSchedulerKwargs.baseMomentum',
      `${low} is above maxMomentum ${high}: momentum falls while the rate rises`,
    );
  if (pctStart !== undefined && warmupSteps > 0)
    refuse(
      'lrSchedulerKwargs.pctStart',
      `${pctStart} and warmupSteps ${warmupSteps} both set how long the rate rises: leave one of them out`,
    );
  if (threePhase && 2 * warmupSteps > maxSteps)
    refuse(
      'warmupSteps',
      `${warmupSteps} is more than half of maxSteps ${maxSteps}: with threePhase the rate falls for as long as it rose`,
    );
  if (threePhase && pctStart !== undefined && pctStart > 0.5)
    refuse(
      'lrSchedulerKwargs.pctStart',
      `${pctStart} is above 0.5: with threePhase the rate falls for as long as it rose`,
    );
  if (numDecaySteps !== undefined && warmupSteps + numDecaySteps > maxSteps)
    refuse(
      'lrSchedulerKwargs.numDecaySteps',
      `${numDecaySteps} and warmupSteps ${warmupSteps} are more than maxSteps ${maxSteps}: decay for a part of the run, ` +
        `such as ${Math.max(1, Math.min(Math.ceil(maxSteps / 5), maxSteps - warmupSteps))}`,
    );
}

function refuse(path: string, message: string): never {
  throw new TesseraeError('ERR_CONFIG', `${path} ${message}`, { details: { path } });
}
