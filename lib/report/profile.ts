import type { Plan, PlannedCall } from './plan_table';

/** The measured time of a call. */
export interface OperationTiming {
  readonly section: PlannedCall['section'];
  readonly call: string;
  readonly operation: string;
  readonly seconds: number;
}

/** Kinds of work in a step: matrix products, attention, other memory-bound operations, and the update. */
export const KINDS = ['GEMM', 'attention', 'memory-bound', 'optimizer'] as const;
export type Kind = (typeof KINDS)[number];

/** One operation call of a step, over all of its micro-batches. */
export interface ProfiledCall {
  readonly section: PlannedCall['section'];
  readonly name: string;
  readonly operation: string;
  readonly kind: Kind;
  /** Number of calls in a step. */
  readonly count: number;
  /** Measured time of all of them together. */
  readonly seconds: number;
  /** Predicted roofline time of all of them together; absent without a plan. */
  readonly plannedSeconds?: number;
  readonly bound?: PlannedCall['bound'];
}

/** Where the time of a training step goes: measured, and predicted by the plan. */
export interface Profile {
  readonly device: string;
  /** Description of the device. */
  readonly deviceDescription: string;
  /** The chip of the plan; absent if the device is not in the table of chips. */
  readonly chip?: string;
  readonly precision: string;
  /** Rows of a micro-batch. */
  readonly rows: number;
  /** Positions of a row along each length axis of the model, by name. */
  readonly lengths: Readonly<Record<string, number>>;
  readonly gradientAccumulationSteps: number;
  readonly calls: readonly ProfiledCall[];
  /** Sum of the separately measured operations. */
  readonly operationSeconds: number;
  /** Roofline time of a step. */
  readonly plannedSeconds?: number;
  /** Time of a step in training. */
  readonly stepSeconds: number;
  readonly tokensPerSecond: number;
}

/** Measurements of a step. */
export interface Measurement extends Pick<
  Profile,
  | 'device'
  | 'deviceDescription'
  | 'precision'
  | 'rows'
  | 'lengths'
  | 'gradientAccumulationSteps'
  | 'stepSeconds'
> {
  /** Targets of a step, with and without a loss. */
  readonly targets: number;
  /** One or more runs of a step: the calls of all micro-batches one after another, then those of the update. */
  readonly runs: readonly (readonly OperationTiming[])[];
  readonly plan?: Plan;
}

/** Joins measured calls (their medians over the runs) with those of the plan that have the same name and operation. */
export function makeProfile({ runs, plan, targets, ...step }: Measurement): Profile {
  const [first = []] = runs;
  const planned = byKey(plan?.calls ?? [], ({ section, name, operation }) => [section, name, operation]);
  const perBatch = first.filter(({ section }) => section === 'micro').length / step.gradientAccumulationSteps;
  const medians = first.map((timing, i) => ({
    ...timing,
    seconds: median(runs.map((run) => run[i]?.seconds ?? NaN)),
    // Position of the call in its program, the same in all micro-batches.
    place: timing.section === 'micro' ? i % perBatch : i,
  }));
  const calls = [...byKey(medians, ({ place }) => [place]).values()].flatMap((same): ProfiledCall[] => {
    const [call] = same;
    if (!call) return [];
    const { section, call: name, operation } = call;
    const prediction = planned.get(keyOf([section, name, operation]))?.shift();
    return [
      {
        section,
        name,
        operation,
        kind: kindOf(section, operation),
        count: same.length,
        seconds: sum(same.map(({ seconds }) => seconds)),
        ...(prediction ? { plannedSeconds: same.length * prediction.seconds, bound: prediction.bound } : {}),
      },
    ];
  });
  return {
    ...step,
    ...(plan ? { chip: plan.chip, plannedSeconds: plan.stepSeconds } : {}),
    calls,
    operationSeconds: sum(calls.map(({ seconds }) => seconds)),
    tokensPerSecond: targets / step.stepSeconds,
  };
}

/** Calls that share a row. */
export interface CallSum {
  readonly name: string;
  /** Kind and operation of the first of them. */
  readonly kind: Kind;
  readonly operation: string;
  readonly count: number;
  readonly seconds: number;
  /** Absent if the plan lacks one of them. */
  readonly plannedSeconds?: number;
  /** Absent if they differ. */
  readonly bound?: PlannedCall['bound'];
}

/**
 * Sums the calls with the same `key`, in order of first appearance. The first text of the key becomes the name.
 */
export function sumCalls(
  calls: readonly ProfiledCall[],
  key: (call: ProfiledCall) => readonly [string, ...string[]],
): CallSum[] {
  return [...byKey(calls, key).values()].flatMap((same): CallSum[] => {
    const [first] = same;
    if (!first) return [];
    const planned = same.flatMap(({ plannedSeconds }) => plannedSeconds ?? []);
    return [
      {
        name: key(first)[0],
        kind: first.kind,
        operation: first.operation,
        count: sum(same.map(({ count }) => count)),
        seconds: sum(same.map(({ seconds }) => seconds)),
        ...(planned.length === same.length ? { plannedSeconds: sum(planned) } : {}),
        ...(first.bound && same.every(({ bound }) => bound === first.bound) ? { bound: first.bound } : {}),
      },
    ];
  });
}

/** The time of each kind, in the order of KINDS. */
export function sumKinds(calls: readonly ProfiledCall[]): CallSum[] {
  return sumCalls(calls, ({ kind }) => [kind]).sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind));
}

function kindOf(section: PlannedCall['section'], operation: string): Kind {
  if (section === 'update') return 'optimizer';
  if (operation.startsWith('linear')) return 'GEMM';
  return operation.startsWith('attention') ? 'attention' : 'memory-bound';
}

const keyOf = (parts: readonly (string | number)[]): string => JSON.stringify(parts);

function byKey<T>(values: readonly T[], key: (value: T) => readonly (string | number)[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const value of values) {
    const group = groups.get(keyOf(key(value)));
    if (group) group.push(value);
    else groups.set(keyOf(key(value)), [value]);
  }
  return groups;
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? NaN) + (sorted[Math.ceil(middle)] ?? NaN)) / 2;
}
