import { planText, type Plan, type PlannedCall } from '../../../lib/report/plan_table';

const tensor = (slot: string, shape: string) => ({
  slot,
  value: slot,
  shape,
  dtype: 'bf16',
  owner: 'workspace',
  bytes: 1024,
});

const linear = (name: string, shape: string): PlannedCall => ({
  section: 'micro',
  name,
  operation: 'linear',
  kernel: 'cuBLASLt, chosen on the device',
  products: [],
  inputs: [tensor('x', 'batch 8 × time 128 × embd 545→552'), tensor('weight', 'inner 2180 × embd 545→552')],
  outputs: [tensor('y', shape)],
  matrixFlops: 1e9,
  vectorFlops: 0,
  bytes: 2 ** 20,
  scratchBytes: 0,
  seconds: 1e-3,
  bound: 'compute',
});

const plan: Plan = {
  chip: 'h100',
  chipDescription: 'NVIDIA H100',
  precision: 'bf16',
  rows: 8,
  lengths: { time: 128 },
  gradientAccumulationSteps: 4,
  layoutHash: '0123456789abcdef',
  parameters: { count: 1_000_000, logicalBytes: 4_000_000, physicalBytes: 4_100_000, flatBytes: 4_200_000 },
  calls: [
    linear('transformer.h.0.mlp.c_fc', 'batch 8 × time 128 × inner 2180'),
    linear('transformer.h.1.mlp.c_fc', 'batch 8 × time 128 × inner 2180'),
    linear('lm_head', 'batch 8 × time 128 × vocab 250→256'),
    { ...linear('adamw', 'parameters 1000000'), section: 'update', operation: 'adamw', bound: 'memory' },
  ],
  memory: [
    { owner: 'parameters', bytes: 3 * 2 ** 20 },
    { owner: 'workspace', bytes: 2 ** 20 },
    { owner: 'halfCopy', bytes: 0 },
  ],
  totalBytes: 4 * 2 ** 20,
  paddingPolicy: { name: 'chip', vocabulary: 64, width: 64, head: 8, why: 'cache lines' },
  padding: [
    { axis: 'embd', role: 'width', logical: 545, physical: 552, why: 'multiple of 8', buys: 'aligned rows' },
  ],
  stepSeconds: 0.004,
  tokensPerSecond: 256_000,
  largestBatch: { memoryBytes: 24 * 2 ** 30, rows: 96 },
};

const lines = (text: string): string[] => text.split('\n').map((line) => line.replace(/ {2,}/g, ' | '));

it('joins the calls of repeated blocks and adds everything up', () => {
  const text = lines(planText(plan));
  expect(text).toContain(
    'transformer.h.*.mlp.c_fc | linear | cuBLASLt, chosen on the device | 2 | 2 G | 2 MiB | 2 ms | 66.7 % | compute | [batch 8 × time 128 × inner 2180] bf16',
  );
  expect(text).toContain(
    'lm_head | linear | cuBLASLt, chosen on the device | 1 | 1 G | 1 MiB | 1 ms | 33.3 % | compute | [batch 8 × time 128 × vocab 250→256] bf16',
  );
  expect(text.find((line) => line.startsWith('total | 3 |'))).toBe(
    'total | 3 | 3 G | 3 MiB | 3 ms | 100.0 %',
  );
});

it('lists every call with its inputs when asked', () => {
  const text = planText(plan, { all: true });
  expect(text).toContain('transformer.h.0.mlp.c_fc');
  expect(text).toContain('transformer.h.1.mlp.c_fc');
  expect(text).toContain(
    'x [batch 8 × time 128 × embd 545→552] bf16, weight [inner 2180 × embd 545→552] bf16 → y [',
  );
});

it('shows memory by owner, padding, time and the largest batch', () => {
  const text = planText(plan);
  expect(lines(text)).toEqual(
    expect.arrayContaining([
      'h100 (NVIDIA H100) · bf16 · micro-batch of 8 × 128 positions, 4 per step',
      'parameters | 3 MiB | 75.0 %',
      'workspace | 1 MiB | 25.0 %',
      'total | 4 MiB | 100.0 %',
      "policy 'chip': vocabulary to multiples of 64, widths to 64, heads to 8: cache lines",
      'embd | 545→552 | multiple of 8 | aligned rows',
      'roofline time of a step 4 ms, 256 k tokens/s',
      'largest micro-batch in 24 GiB: 96 rows',
    ]),
  );
  expect(text).not.toContain('halfCopy');
  expect(text).toContain('parameters 1 M (1000000), 3.81 MiB, with padding 3.91 MiB');
});

it('leaves out what there is nothing of', () => {
  const bare = planText({ ...plan, padding: [], calls: [], largestBatch: { memoryBytes: 1024, rows: 0 } });
  expect(bare).not.toContain('padding\n');
  expect(bare).not.toContain('operations');
  expect(bare).toContain('largest micro-batch in 1 KiB: not even one row fits');
  expect(bare).not.toMatch(/NaN|undefined/);
});
