import { BucketPlan, PackPlan, PadPlan, type Plan } from '../../../../lib/data/sequences/plan';
import { Random } from '../../support/random';

const LENGTHS = Int32Array.from(new Random(1).ids([300], 200).data, (id) => id + 1);

const plans: [string, Plan][] = [
  ['pad', new PadPlan(300)],
  ['pack', new PackPlan(LENGTHS, 256)],
  ['bucket', new BucketPlan(LENGTHS, 256, 2048)],
];

/** The sequences of steps [from, to), in the order that they are drawn. */
function drawn(
  plan: Plan,
  from: number,
  to: number,
  { rows = 7, microSteps = 1, seed = 1 }: { rows?: number; microSteps?: number; seed?: number } = {},
): number[] {
  const sequences: number[] = [];
  for (let step = from; step < to; step++)
    for (let microStep = 0; microStep < microSteps; microStep++)
      sequences.push(...plan.batch({ seed, step, microStep, microSteps, rows }).rows.flat());
  return sequences;
}

const sorted = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);
const EVERYONE = Array.from({ length: 300 }, (_, i) => i);

describe.each(plans)('the plan of %s', (name, plan) => {
  const steps = name === 'bucket' ? plan.units : plan.units / 7;

  it('has each sequence once an epoch, in an order that differs by epoch and seed', () => {
    // Rows of 1: an epoch then ends with a step.
    const epoch = (number: number, seed = 1): number[] =>
      drawn(plan, number * plan.units, (number + 1) * plan.units, { rows: 1, seed });
    expect(sorted(epoch(0))).toEqual(EVERYONE);
    expect(sorted(epoch(5))).toEqual(EVERYONE);
    expect(epoch(0)).not.toEqual(epoch(1));
    expect(epoch(0)).not.toEqual(epoch(0, 2));
    expect(epoch(0)).not.toEqual(EVERYONE);
  });

  it('finds the batch of a step without those before it', () => {
    const straight = drawn(plan, 0, 60, { microSteps: 2 });
    const resumed = drawn(plan, 37, 60, { microSteps: 2 });
    expect(straight.slice(-resumed.length)).toEqual(resumed);
  });

  it('continues over epochs that do not end with a step', () => {
    const sequences = drawn(plan, 0, Math.ceil(3 * steps));
    const times = new Map<number, number>();
    for (const one of sequences) times.set(one, (times.get(one) ?? 0) + 1);
    expect([...times.values()].every((count) => count === 3 || count === 4)).toBe(true);
    expect(times.size).toBe(300);
  });

  it('evaluates the same batches at every call, spread over the sequences, none twice', () => {
    const batches = (most: number): number[][] => {
      const all: number[][] = [];
      for (let index = 0; ; index++) {
        const batch = plan.evaluation(index, 7, most);
        if (!batch) return all;
        all.push(batch.rows.flat());
      }
    };
    expect(batches(5)).toEqual(batches(5));
    expect(batches(5)).toHaveLength(5);
    expect(new Set(batches(5).flat()).size).toBe(batches(5).flat().length);
    expect(sorted(batches(1_000_000).flat())).toEqual(EVERYONE);
  });
});

describe('PadPlan', () => {
  it('depends only on the place of a sample in its step, not on micro-batches', () => {
    const plan = new PadPlan(300);
    expect(drawn(plan, 0, 20, { rows: 8, microSteps: 1 })).toEqual(
      drawn(plan, 0, 20, { rows: 2, microSteps: 4 }),
    );
  });
});

describe('PackPlan', () => {
  it('keeps the lengths of a row, and reshuffles sequences of equal length each epoch', () => {
    // Two of each length up to 8, four rows of 18.
    const lengths = Int32Array.from({ length: 16 }, (_, i) => 1 + (i % 8));
    const plan = new PackPlan(lengths, 18);
    const epoch = (number: number): string[] =>
      Array.from({ length: plan.units }, (_, i) =>
        (plan.batch({ seed: 1, step: number * plan.units + i, microStep: 0, rows: 1 }).rows[0] ?? []).join(),
      ).sort();
    const lengthsOf = (rows: string[]): string[] =>
      rows
        .map((row) =>
          row
            .split(',')
            .map((one) => lengths[Number(one)])
            .join(),
        )
        .sort();
    expect(lengthsOf(epoch(0))).toEqual(lengthsOf(epoch(1)));
    expect(new Set(Array.from({ length: 8 }, (_, i) => epoch(i).join(' '))).size).toBeGreaterThan(4);
  });
});

describe('BucketPlan', () => {
  it('stays within maxTokens, in at most eight shapes, each at most a thirty-second above its rows', () => {
    const plan = new BucketPlan(LENGTHS, 256, 2048);
    const shapes = new Set<string>();
    for (let step = 0; step < plan.units; step++) {
      const { rows, capacity } = plan.batch({ seed: 1, step, microStep: 0, rows: 1 });
      const { rows: room, lengths } = capacity ?? { rows: 0, lengths: {} };
      const time = lengths['time'] ?? 0;
      expect(room * time).toBeLessThanOrEqual(2048);
      expect(rows.length).toBeLessThanOrEqual(room);
      for (const [one] of rows) expect(LENGTHS[one as number]).toBeLessThanOrEqual(time);
      shapes.add(`${room}x${time}`);
    }
    expect(shapes.size).toBeLessThanOrEqual(8);
    expect(shapes.size).toBeGreaterThan(3);
  });

  it('gives the micro-batches of a step one shape, and each sequence once', () => {
    const plan = new BucketPlan(LENGTHS, 256, 2048);
    const everyone: number[] = [];
    let step = 0;
    for (; everyone.length < 300; step++) {
      const batches = [0, 1, 2].map((microStep) =>
        plan.batch({ seed: 1, step, microStep, microSteps: 3, rows: 1 }),
      );
      expect(new Set(batches.map(({ capacity }) => JSON.stringify(capacity))).size).toBe(1);
      expect(batches[0]?.rows.length).toBeGreaterThan(0);
      everyone.push(...batches.flatMap(({ rows }) => rows.flat()));
    }
    expect(sorted(everyone)).toEqual(EVERYONE);
  });

  it('works with one sequence per batch, and with fewer sequences than micro-steps', () => {
    const long = new BucketPlan(Int32Array.from([90, 91, 92]), 100, 92);
    expect(sorted(drawn(long, 0, 3))).toEqual([0, 1, 2]);
    expect(sorted(drawn(long, 0, 1, { microSteps: 8 }))).toEqual([0, 1, 2]);
  });
});
