import { devices, measureProduct, type ProductRequest } from '../../../lib/native';
import { failureOf } from '../support/errors';

const request = (changes: Record<string, unknown> = {}): ProductRequest => ({
  layout: 'forward',
  m: 48,
  n: 40,
  k: 33,
  pieces: [],
  result: 'float32',
  precision: 'fp32',
  rounds: 3,
  ...changes,
});

it.each([
  ['forward', []],
  ['forward', [{ kind: 'bias' }, { kind: 'keepInput' }, { kind: 'activation', function: 'gelu_new' }]],
  ['inputGradient', []],
  ['inputGradient', [{ kind: 'slope', function: 'silu' }]],
  ['weightGradient', []],
])('measures %s with the pieces %j on the CPU', async (layout, pieces) => {
  const measured = await measureProduct('cpu', request({ layout, pieces }));
  expect(measured.map(({ name }) => name)).toEqual(['oneDNN']);
  expect(measured[0]!.seconds).toHaveLength(3);
  // 2 · 48 · 40 · 33 operations take more than 10 ns and less than 0.1 s on any machine.
  for (const seconds of measured[0]!.seconds) {
    expect(seconds).toBeGreaterThan(1e-8);
    expect(seconds).toBeLessThan(0.1);
  }
});

it('adds to a weight gradient, whose partial sums need workspace', async () => {
  const product = { layout: 'weightGradient', m: 24, n: 16, k: 4000, accumulate: true, rounds: 1 };
  const [one] = await measureProduct('cpu', request(product));
  expect(one!.seconds).toHaveLength(1);
});

it('measures two products one after the other', async () => {
  const both = await Promise.all([measureProduct('cpu', request()), measureProduct('cpu', request())]);
  expect(both.map((list) => list.length)).toEqual([1, 1]);
});

it.each([
  [{ m: 0 }, /product.m/],
  [{ n: 1.5 }, /product.n/],
  [{ k: 2 ** 40 }, /product.k/],
  [{ k: NaN }, /product.k/],
  [{ layout: 'backward' }, /product.layout is 'backward'; it must be forward, inputGradient/],
  [{ precision: 'fp64' }, /fp64/],
  [{ result: 'bfloat16' }, /product.result is bfloat16; in fp32 it must be float32/],
  [{ result: 'float8' }, /float8/],
  [{ rounds: 0 }, /product.rounds/],
  [{ accumulate: true }, /product.accumulate is for the gradient of a weight/],
  [{ pieces: 'bias' }, /product.pieces/],
  [{ pieces: [{ kind: 'dropout' }] }, /product.pieces has a kind 'dropout'/],
  [{ pieces: [{ kind: 'activation', function: '' }] }, /product.pieces.function must have 1 to 256/],
  [{ pieces: [{ kind: 'activation', function: 'sine' }] }, /unknown activation function 'sine'/],
  [{ pieces: [{ kind: 'bias', function: 'relu' }] }, /'bias' has no function/],
  [{ pieces: [3] }, /product.pieces must be an object/],
  [{ pieces: [{ kind: 'slope', function: 'relu' }] }, /'slope' can't be there/],
  [{ pieces: [{ kind: 'keepInput' }, { kind: 'bias' }] }, /'bias' can't be there/],
  [{ pieces: [{ kind: 'keepInput' }] }, /keepInput needs the activation/],
  [{ layout: 'weightGradient', pieces: [{ kind: 'bias' }] }, /'bias' can't be there/],
  [{ tiles: 128 }, /tiles/],
])('refuses %j', async (changes, message) => {
  const failure = await failureOf('ERR_CONFIG', () => measureProduct('cpu', request(changes)));
  expect(failure.message).toMatch(message);
});

it('refuses operands that memory does not hold', async () => {
  const { message } = await failureOf('ERR_OUT_OF_MEMORY', () =>
    measureProduct('cpu', request({ m: 2 ** 24, n: 2 ** 24, k: 2 ** 24 })),
  );
  expect(message).toMatch(/the operands of the product need [0-9]+ MiB/);
});

it.each(['', 'gpu', 'cuda:x'])('refuses the device %j', async (device) => {
  const { message } = await failureOf('ERR_DEVICE', () => measureProduct(device, request()));
  expect(message).toMatch(/is unknown: use 'cpu' or 'cuda:0'/);
});

it('refuses a GPU that is not there, and a precision that the CPU does not have', async () => {
  const missing = `cuda:${(await devices()).length + 7}`;
  expect((await failureOf('ERR_DEVICE', () => measureProduct(missing, request()))).message).toMatch(missing);
  const half = request({ precision: 'bf16', result: 'bfloat16' });
  const { message } = await failureOf('ERR_DEVICE', () => measureProduct('cpu', half));
  expect(message).toMatch(/the CPU computes in fp32; precision 'bf16' needs a GPU/);
});
