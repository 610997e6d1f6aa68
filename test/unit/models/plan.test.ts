import { buildGraph, resolveModelConfig } from '../../../lib/models/families';
import { devices, NativeModel, plan as planGraph, type PlanRequest } from '../../../lib/native';
import type { Plan } from '../../../lib/report/plan_table';
import { resolveTrainingArguments } from '../../../lib/training/arguments';
import { planSettings } from '../../../lib/training/planning';
import { failureOf } from '../support/errors';
import { TINY } from '../support/tiny_model';

const graph = buildGraph(resolveModelConfig({ ...TINY, nEmbd: 64, nLayer: 2 }));
const plan = (request: Partial<PlanRequest> = {}): Plan =>
  planGraph(graph, { rows: 4, lengths: { time: 16 }, ...request }) as Plan;
const bytesOf = ({ memory }: Plan): Record<string, number> =>
  Object.fromEntries(memory.map(({ owner, bytes }) => [owner, bytes]));

const GRANULE = 2 * 2 ** 20;

it('counts whole granules and what CUDA takes besides on a GPU, bytes on the CPU', () => {
  const arenas = [
    'parameters',
    'gradients',
    'moment1',
    'moment2',
    'state',
    'schedule',
    'inputs',
    'workspace',
  ];
  const gpu = bytesOf(plan({ chip: 'h100' }));
  for (const owner of [...arenas, 'halfCopy']) {
    expect(gpu[owner]).toBeGreaterThan(0);
    expect((gpu[owner] ?? NaN) % GRANULE).toBe(0);
  }
  for (const owner of ['context', 'cublasLt', 'graphs']) expect(gpu[owner]).toBeGreaterThan(0);

  const cpu = bytesOf(plan());
  expect(cpu['gradients']).toBe(cpu['parameters']);
  for (const owner of arenas) expect(cpu[owner]).toBeLessThan(GRANULE);
  expect(cpu).toMatchObject({ halfCopy: 0 });
  for (const owner of ['context', 'cublasLt', 'graphs']) expect(cpu).not.toHaveProperty(owner);
});

it.each(['cpu', 'h100'])('adds up the same for the total and for the largest batch (%s)', (chip) => {
  const memory = plan({ chip, rows: 300 }).totalBytes;
  const { rows } = plan({ chip, memory }).largestBatch;
  expect(rows).toBeGreaterThanOrEqual(300);
  expect(plan({ chip, rows }).totalBytes).toBeLessThanOrEqual(memory);
  expect(plan({ chip, rows: rows + 1 }).totalBytes).toBeGreaterThan(memory);
  expect(plan({ chip, memory: 1000 }).largestBatch.rows).toBe(0);
  for (const wrong of [-1, -1e300, 1e300])
    expect(() => plan({ chip, memory: wrong })).toThrow(/plan.memory is/);
});

it('lists the matrix products of a call on a GPU, with what is fused into them', () => {
  const productsOf = (name: string, operation: string): unknown[] =>
    plan({ chip: 'h100' }).calls.find((call) => call.name.endsWith(name) && call.operation === operation)!
      .products as unknown[];
  // 4 × 16 rows, a width of 64, an inner width of 256.
  expect(productsOf('h.0.mlp.c_fc', 'linear')).toEqual([
    {
      layout: 'forward',
      ...{ m: 64, n: 256, k: 64, result: 'bfloat16' },
      pieces: [{ kind: 'bias' }, { kind: 'keepInput' }, { kind: 'activation', function: 'gelu_new' }],
      kernel: 'cuBLASLt',
      source: 'rule',
      runs: 1,
      // Its traffic in bf16 at 3 TB/s: both operands, C, and the input that it keeps.
      rooflineSeconds: (2 * (64 * 64 + 64 * 256 + 2 * 64 * 256)) / 3e12,
    },
  ]);
  expect(productsOf('d(transformer.h.0.mlp.c_proj)', 'linear_input_gradient')).toMatchObject([
    { layout: 'inputGradient', m: 64, n: 256, k: 64, pieces: [{ kind: 'slope', function: 'gelu_new' }] },
  ]);
  expect(productsOf('d(transformer.h.0.mlp.c_proj)', 'linear_weight_gradient')).toMatchObject([
    { layout: 'weightGradient', m: 64, n: 256, k: 64, pieces: [], result: 'float32' },
  ]);
  expect(productsOf('h.0.ln_1', 'layer_norm')).toEqual([]);
  expect(plan().calls.flatMap(({ products }) => products)).toEqual([]);
});

it('finds the largest batch of a small model, though some that memory would hold can not be compiled', () => {
  const small = buildGraph(resolveModelConfig({ type: 'gpt2', nLayer: 2, nEmbd: 64, nHead: 2 }));
  const { rows } = (planGraph(small, { rows: 8, lengths: { time: 1024 }, chip: 'h100' }) as Plan)
    .largestBatch;
  expect(rows).toBeGreaterThan(1000);
  const at = (batch: number): unknown =>
    planGraph(small, { rows: batch, lengths: { time: 1024 }, chip: 'h100' });
  expect(at(rows)).toMatchObject({ rows });
  expect(() => at(2 * rows)).toThrow();
});

it.each([
  [{ type: 'sgd', momentum: 0, nesterov: false, weightDecay: 0 }, 0],
  [{ type: 'sgd', momentum: 0.9, nesterov: true, weightDecay: 0 }, 1],
  [{ type: 'adam', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 }, 2],
] as const)('counts the moments of %j, and a moving average where there is one', (optimizer, moments) => {
  const { parameters, ...bytes } = bytesOf(plan({ optimizer }));
  expect(bytes).toMatchObject({
    moment1: moments > 0 ? parameters : 0,
    moment2: moments > 1 ? parameters : 0,
    ema: 0,
  });
  expect(bytesOf(plan({ optimizer, emaDecay: 0.99 }))['ema']).toBe(parameters);
  const update = (request: Partial<PlanRequest>): string[] =>
    plan(request)
      .calls.filter(({ section }) => section === 'update')
      .map(({ operation }) => operation);
  expect(update({ optimizer, emaDecay: 0.99 })).toEqual([
    'gradient_norm',
    optimizer.type,
    'ema',
    'advance_counters',
  ]);
});

it('refuses an optimizer that it does not know', async () => {
  const optimizer = { type: 'lion' } as unknown as NonNullable<PlanRequest['optimizer']>;
  const { message } = await failureOf('ERR_CONFIG', () => plan({ optimizer }));
  expect(message).toMatch(/plan.optimizer.type 'lion' is unknown: use adamw, adam, sgd or radam/);
});

it('knows the chip of the CPU, and says which chips there are', async () => {
  expect((await devices())[0]).toMatchObject({ name: 'cpu', chip: 'cpu' });
  const { message } = await failureOf('ERR_CONFIG', () => plan({ chip: 'h1000' }));
  expect(message).toMatch(/h100, h200, .*cpu/);
});

it('plans the calls that a step with these settings makes', async () => {
  const args = resolveTrainingArguments({
    maxSteps: 1,
    optim: 'sgd',
    emaDecay: 0.9,
    parameterGroups: [
      { match: '*.h.0.*', trainable: false },
      { match: '*.w*e.weight', trainable: false },
    ],
  });
  const model = await NativeModel.create(graph, { device: 'cpu', precision: 'fp32', seed: 1 });
  try {
    const settings = planSettings(args, graph);
    const { frozen, optimizer, emaDecay } = settings;
    await model.configureTraining({
      optimizer,
      emaDecay,
      parameters: Object.fromEntries(frozen.map((name) => [name, { trainable: false }])),
      maxGradNorm: 1,
      labelSmoothing: 0,
      learningRates: Float32Array.of(0.1),
    });
    const ids = new Int32Array(64);
    const { timings } = await model.profileStep({ rows: 4, lengths: { time: 16 } }, [
      { tokens: ids, targets: ids },
    ]);
    const measured = timings.map(({ section, call, operation }) => `${section} ${call} ${operation}`);
    const planned = plan(settings).calls.map(
      ({ section, name, operation }) => `${section} ${name} ${operation}`,
    );
    expect(measured).toEqual(planned);
    expect(planned).toContain('update sgd sgd');
    // With the embeddings and the first block frozen, no gradient flows back into that block.
    expect(planned.length).toBeLessThan(plan().calls.length - 5);
  } finally {
    model.dispose();
  }
});
