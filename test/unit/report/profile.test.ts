import type { Plan, PlannedCall } from '../../../lib/report/plan_table';
import { makeProfile, sumCalls, sumKinds, type OperationTiming } from '../../../lib/report/profile';
import { profileSvg } from '../../../lib/report/profile_svg';
import { profileText } from '../../../lib/report/profile_text';

const micro = (call: string, operation: string, seconds: number): OperationTiming => ({
  section: 'micro',
  call,
  operation,
  seconds,
});

/** Calls of a micro-batch of two blocks; two calls have the same name and operation. */
const microBatch = (seconds: number): OperationTiming[] => [
  micro('h.0.ln', 'layer_norm', seconds),
  micro('h.0.attn', 'attention', 2 * seconds),
  micro('h.0.fc', 'linear', 4 * seconds),
  micro('h.1.ln', 'layer_norm', seconds),
  micro('h.1.attn', 'attention', 2 * seconds),
  micro('h.1.fc', 'linear', 4 * seconds),
  micro('loss', 'linear', 5 * seconds),
  micro('loss', 'linear', 6 * seconds),
];
const update: OperationTiming = { section: 'update', call: 'adamw', operation: 'adamw', seconds: 0.25 };
const run = (...seconds: number[]): OperationTiming[] => [...seconds.flatMap(microBatch), update];

const planned = ({ section, call, operation, seconds }: OperationTiming): PlannedCall => ({
  section,
  name: call,
  operation,
  seconds: seconds / 2,
  bound: operation === 'linear' ? 'compute' : 'memory',
  inputs: [],
  outputs: [],
  kernel: '',
  products: [],
  scratchBytes: 0,
  matrixFlops: 0,
  vectorFlops: 0,
  bytes: 0,
});

const plan = {
  chip: 'h100',
  stepSeconds: 0.5,
  calls: [...microBatch(0.01).map(planned), planned(update)],
} as unknown as Plan;

const step = {
  device: 'cuda:0',
  deviceDescription: 'NVIDIA H100 80GB HBM3, sm_90',
  precision: 'bf16',
  rows: 4,
  lengths: { time: 16 },
  gradientAccumulationSteps: 2,
  stepSeconds: 0.8,
  targets: 128,
} as const;

// Medians: 0.01 in the first micro-batch, 0.02 in the second.
const runs = [run(0.01, 0.02), run(0.5, 0.02), run(0.001, 0.7)];
const profile = makeProfile({ ...step, runs, plan });
const unplanned = makeProfile({ ...step, runs });

const lines = (text: string): string[] => text.split('\n').map((line) => line.replace(/ {2,}/g, ' | '));

describe('makeProfile', () => {
  it('adds the medians of all micro-batches up and doubles what the plan says of one', () => {
    expect(profile.calls[2]).toEqual({
      section: 'micro',
      name: 'h.0.fc',
      operation: 'linear',
      kind: 'GEMM',
      count: 2,
      seconds: expect.closeTo(0.12) as number,
      plannedSeconds: expect.closeTo(0.04) as number,
      bound: 'compute',
    });
    expect(profile.calls).toHaveLength(9);
    expect(profile.calls.at(-1)).toMatchObject({ kind: 'optimizer', count: 1, seconds: 0.25 });
    expect(profile.operationSeconds).toBeCloseTo(25 * 0.03 + 0.25);
    expect(profile).toMatchObject({ chip: 'h100', plannedSeconds: 0.5, tokensPerSecond: 160 });
  });

  it('joins calls of one name in their order', () => {
    const [first, second] = profile.calls.filter(({ name }) => name === 'loss');
    expect(first?.plannedSeconds).toBeCloseTo(0.05);
    expect(second?.plannedSeconds).toBeCloseTo(0.06);
  });

  it('has no prediction for what the plan lacks', () => {
    const partly = makeProfile({ ...step, runs, plan: { ...plan, calls: plan.calls.slice(1) } });
    expect(partly.calls[0]).not.toHaveProperty('plannedSeconds');
    expect(partly.calls[1]).toHaveProperty('plannedSeconds');
    const [norms] = sumCalls(partly.calls, ({ operation }) => [operation]);
    expect(norms).toMatchObject({ name: 'layer_norm', count: 4 });
    expect(norms).not.toHaveProperty('plannedSeconds');
    expect(unplanned).not.toHaveProperty('chip');
    expect(unplanned.calls[0]).not.toHaveProperty('bound');
  });
});

it('shows time by kind', () => {
  expect(sumKinds(profile.calls).map(({ name, count }) => [name, count])).toEqual([
    ['GEMM', 8],
    ['attention', 4],
    ['memory-bound', 4],
    ['optimizer', 1],
  ]);
  const mixed = sumCalls(profile.calls, () => ['all']);
  expect(mixed[0]).not.toHaveProperty('bound');
});

describe('profileText', () => {
  it('shows operations, calls with repeated blocks joined, kinds and totals', () => {
    const text = lines(profileText(profile));
    expect(text[0]).toBe(
      'cuda:0 (NVIDIA H100 80GB HBM3, sm_90) · bf16 · micro-batch of 4 × 16 positions, 2 per step',
    );
    expect(text).toEqual(
      expect.arrayContaining([
        'linear | 8 | 570 ms | 57.0 % | 190 ms | 33.3 % | compute',
        'h.*.fc | linear | 4 | 240 ms | 24.0 % | 80 ms | 33.3 % | compute',
        'loss | linear | 4 | 330 ms | 33.0 % | 110 ms | 33.3 % | compute',
        'total | 17 | 1 s | 100.0 % | 375 ms | 37.5 %',
        `GEMM | 570 ms | 57.0 % | ${'█'.repeat(13)}${'░'.repeat(27)}`,
        'sum of the operations | 1 s',
        'a step in training | 800 ms, 160 tokens/s',
        'roofline time | 500 ms on h100, 62.5 % of the step',
      ]),
    );
  });

  it('says that a chip is unknown, and leaves the prediction out', () => {
    const text = lines(profileText({ ...unplanned, deviceDescription: 'NVIDIA T4, sm_75' }));
    expect(text).toContain('linear | 8 | 570 ms | 57.0 %');
    expect(text).toContain('roofline time | unknown: NVIDIA T4, sm_75 is not in the table of chips');
    expect(text.join('\n')).not.toMatch(/NaN|undefined|reached/);
  });
});

describe('profileSvg', () => {
  const count = (text: string, part: string): number => text.split(part).length - 1;

  it('has a bar and a mark for each operation, and the whole step by kind', () => {
    const svg = profileSvg(profile, { title: 'a < b' });
    expect(svg).toMatch(/^<svg [^]*<\/svg>\n$/);
    expect(svg).toContain('<title>a &lt; b</title>');
    for (const name of ['linear', 'attention', 'layer_norm', 'adamw'])
      expect(svg).toContain(`text-anchor="end">${name}</text>`);
    expect(count(svg, 'fill="#000"')).toBe(4);
    expect(svg).toContain('GEMM 570 ms');
    expect(svg).not.toMatch(/NaN|undefined/);
  });

  it('has no marks without a plan', () => {
    const svg = profileSvg(unplanned, { title: 'run' });
    expect(count(svg, 'fill="#000"')).toBe(0);
    expect(svg).not.toMatch(/NaN|undefined|roofline/);
  });
});
