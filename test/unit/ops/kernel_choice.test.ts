import { GraphBuilder, normal, vocabulary, width } from '../../../lib/graph/builder';
import { BATCH } from '../../../lib/graph/graph';
import type { Precision } from '../../../lib/native';
import { planTraining } from '../../../lib/training/planning';
import { failureOf } from '../support/errors';
import { withModel } from '../support/native';
import { TINY } from '../support/tiny_model';

const callsOf = (chip: string, precision: Precision, activationFunction: 'gelu_new' | 'relu' | 'tanh') =>
  planTraining({ ...TINY, activationFunction }, { chip, precision }).calls.filter(
    ({ section }) => section === 'micro',
  );

const operationsOf = (...args: Parameters<typeof callsOf>): string[] =>
  callsOf(...args).map(({ operation }) => operation);

describe('an activation is fused into a product only if a kernel does both', () => {
  test.each<[string, Precision, 'gelu_new' | 'relu' | 'tanh', boolean]>([
    ['h100', 'bf16', 'gelu_new', true],
    ['h100', 'fp16', 'gelu_new', true],
    ['h100', 'fp32', 'gelu_new', false],
    ['h100', 'tf32', 'gelu_new', false],
    ['h100', 'bf16', 'relu', true],
    ['h100', 'bf16', 'tanh', false],
    ['a100', 'bf16', 'gelu_new', true],
    ['a100', 'bf16', 'relu', false],
    ['cpu', 'fp32', 'gelu_new', true],
    ['cpu', 'fp32', 'relu', true],
  ])('%s, %s, %s', (chip, precision, activation, isFused) => {
    const operations = operationsOf(chip, precision, activation);
    for (const operation of ['activation', 'activation_backward'])
      expect(operations.includes(operation)).toBe(!isFused);
  });
});

it('names the kernel if there are several', () => {
  const kernels = (precision: Precision): Map<string, string> =>
    new Map(callsOf('h100', precision, 'gelu_new').map(({ operation, kernel }) => [operation, kernel]));
  expect(kernels('bf16').get('attention')).toBe('sm80');
  expect(kernels('fp32').get('attention')).toBe('plain');
  expect(kernels('bf16').get('linear')).toBe('cuBLASLt, chosen on the device');
  expect(kernels('bf16').get('layer_norm')).toBe('');
  expect(callsOf('cpu', 'fp32', 'relu').map(({ kernel }) => kernel)).toEqual(
    callsOf('cpu', 'fp32', 'relu').map(() => ''),
  );
});

it('multiplies by our own kernel where its tiles fill the chip', () => {
  const kernelsOf = (chip: string, batchSize: number): Record<string, string> => {
    const { calls } = planTraining(TINY, { chip, precision: 'bf16', arguments: { batchSize } });
    return Object.fromEntries(
      ['transformer.h.0.mlp.c_fc', 'd(transformer.h.0.mlp.c_proj)', 'd(transformer.h.0.mlp.c_fc)'].flatMap(
        (name) =>
          calls
            .filter((call) => call.name === name)
            .map(({ operation, kernel }) => [`${name} ${operation}`, kernel.split(',')[0]!]),
      ),
    );
  };
  const many = kernelsOf('h100', 4096);
  expect(many).toEqual({
    'transformer.h.0.mlp.c_fc linear': 'sm90 128 × 192',
    'd(transformer.h.0.mlp.c_proj) linear_input_gradient': 'sm90 128 × 192', // with GELU's slope
    'd(transformer.h.0.mlp.c_proj) linear_weight_gradient': 'cuBLASLt',
    'd(transformer.h.0.mlp.c_fc) linear_input_gradient': 'cuBLASLt',
    'd(transformer.h.0.mlp.c_fc) linear_weight_gradient': 'cuBLASLt',
  });
  for (const other of [kernelsOf('h100', 8), kernelsOf('a100', 4096)])
    expect(new Set(Object.values(other))).toEqual(new Set(['cuBLASLt']));
});

it('stores exponentials in place of logits in bf16 where the logits are a product of our own', () => {
  const lossKernel = (chip: string, precision: Precision, batchSize: number, labelSmoothing = 0): string =>
    planTraining(TINY, { chip, precision, arguments: { batchSize, labelSmoothing } }).calls.find(
      ({ operation }) => operation === 'linear_cross_entropy',
    )!.kernel;
  expect(lossKernel('h100', 'bf16', 4096)).toBe(
    'exponentials, sm90 128 × 192, cuBLASLt, chosen on the device',
  );
  const logits = 'sm90 128 × 192, cuBLASLt, chosen on the device';
  expect(lossKernel('h100', 'bf16', 4096, 0.1)).toBe(logits);
  expect(lossKernel('h100', 'fp16', 4096)).toBe(logits);
  const library = 'cuBLASLt, chosen on the device';
  expect(lossKernel('h100', 'bf16', 8)).toBe(library);
  expect(lossKernel('a100', 'bf16', 4096)).toBe(library);
});

it('shows the gain of padding only if it was measured', () => {
  const odd = { ...TINY, vocabSize: 250 };
  const buys = (chip: string, precision: Precision): string[] =>
    planTraining(odd, { chip, precision }).padding.map((entry) => entry.buys);
  expect(buys('cpu', 'fp32').length).toBeGreaterThan(0);
  for (const text of [...buys('cpu', 'fp32'), ...buys('a100', 'bf16'), ...buys('h100', 'fp32')])
    expect(text).toBe('not measured on this chip in this precision');
  expect(buys('h100', 'bf16').join()).toContain('H100');
});

it('refuses a loss behind an operation that no gradient flows through', async () => {
  const g = new GraphBuilder('stopped');
  const time = g.lengthAxis('time');
  const vocab = g.axis('vocab', vocabulary(11));
  const embd = g.axis('embd', width(13));
  const tokens = g.input('tokens', [BATCH, time], { kind: 'ids', below: 11 });
  const targets = g.input('targets', [BATCH, time], { kind: 'ids', below: 11 });
  const wte = g.parameter('wte', [vocab, embd], normal(0.5));
  const x = g.node('embedding', 'embedded', { ids: tokens, weight: wte });
  const y = g.node('log_softmax', 'stops_here', { x });
  const logits = g.node('linear', 'head', {
    x: y,
    weight: g.parameter('head.weight', [vocab, embd], normal(1)),
  });
  const loss = g.node('cross_entropy', 'loss', { logits, targets }, { ignoreIndex: -100 });
  await withModel(g.build({ loss }), {}, async (model) => {
    const batch = { tokens: new Int32Array(4), targets: new Int32Array(4) };
    const train = failureOf('ERR_CONFIG', () =>
      model.run({ mode: 'train', rows: 1, lengths: { time: 4 } }, batch),
    );
    expect(await train).toMatchObject({
      code: 'ERR_CONFIG',
      message: expect.stringMatching(/stops_here.*log_softmax/) as string,
    });
    const { outputs } = await model.run({ mode: 'eval', rows: 1, lengths: { time: 4 } }, batch);
    expect(outputs['loss']).toBeDefined();
  });
});
