import { gpt2 } from '../../../lib/models/gpt2';
import type {
  Batch,
  NativeModel,
  ProgramRequest,
  SamplingFeatures,
  SamplingSettings,
  SessionOptions,
} from '../../../lib/native';
import { linearCase } from '../support/cases';
import { randomWeights } from '../support/gpt2_cases';
import { batchOf, withModel, writeParameters } from '../support/native';
import { padded, sessionOf, settingsOf } from '../support/sampling';

/**
 * A model keeps its compiled programs by request. Two requests that differ in any field must not share one: after one of them,
 * the other must do the same as on a new model.
 */
async function expectOwnProgram<T>(
  onModel: <R>(use: (model: NativeModel) => Promise<R>) => Promise<R>,
  before: (model: NativeModel) => Promise<T>,
  after: (model: NativeModel) => Promise<T>,
): Promise<void> {
  const alone = await onModel(after);
  const [first, second] = await onModel(async (model) => [await before(model), await after(model)] as const);
  expect(second).toEqual(alone);
  expect(second).not.toEqual(first);
}

/** What a program computes and returns: each call, its outputs and their values. */
const trace = async (model: NativeModel, request: ProgramRequest, inputs: Batch): Promise<unknown> =>
  model.run(request, inputs, { tap: true });

const shape = { vocabSize: 37, nPositions: 40, nEmbd: 20, nHead: 2, nLayer: 1 };
const graph = gpt2({ ...shape, attnPdrop: 0.1 });
const weights = randomWeights(graph);
const onGpt2 = <R>(use: (model: NativeModel) => Promise<R>): Promise<R> =>
  withModel(graph, {}, async (model) => {
    await writeParameters(model, weights);
    return use(model);
  });

const ids = (rows: number, time: number): Batch => {
  const tokens = Int32Array.from({ length: rows * time }, (_, i) => (i * 7) % 37);
  return { tokens, targets: tokens.map((id) => (id + 1) % 37) };
};

describe('train and eval', () => {
  const base = { rows: 2, lengths: { time: 6 }, outputs: ['loss'] } as const;
  const starts = Int32Array.from({ length: 12 }, (_, i) => (i % 6 < 3 ? 0 : 3));

  test.each<[string, ProgramRequest, ProgramRequest, Batch?]>([
    ['mode', { mode: 'train', ...base }, { mode: 'eval', ...base }],
    ['rows', { mode: 'eval', ...base, rows: 3 }, { mode: 'eval', ...base }],
    ['lengths', { mode: 'eval', ...base, lengths: { time: 7 } }, { mode: 'eval', ...base }],
    ['documents', { mode: 'eval', ...base }, { mode: 'eval', ...base, documents: true }, { starts }],
    ['outputs', { mode: 'eval', ...base }, { mode: 'eval', ...base, outputs: ['logits'] }],
    ['rewrite of eval', { mode: 'eval', ...base }, { mode: 'eval', ...base, rewrite: false }],
    [
      'documents of train',
      { mode: 'train', ...base },
      { mode: 'train', ...base, documents: true },
      { starts },
    ],
    ['outputs of train', { mode: 'train', ...base }, { mode: 'train', ...base, outputs: ['loss', 'logits'] }],
    ['labelSmoothing', { mode: 'train', ...base }, { mode: 'train', ...base, labelSmoothing: 0.1 }],
    ['rewrite of train', { mode: 'train', ...base }, { mode: 'train', ...base, rewrite: false }],
  ])('%s', async (_, first, second, more = {}) => {
    await expectOwnProgram(
      onGpt2,
      (model) => trace(model, first, ids(first.rows, first.lengths['time']!)),
      (model) => trace(model, second, { ...ids(second.rows, second.lengths['time']!), ...more }),
    );
  });

  test('frozen parameters', async () => {
    const frozen = (trainable: boolean) => async (model: NativeModel) => {
      await model.configureTraining({
        optimizer: { type: 'sgd', momentum: 0, nesterov: false, weightDecay: 0 },
        parameters: { 'transformer.ln_f.weight': { trainable } },
        maxGradNorm: 0,
        labelSmoothing: 0,
        learningRates: Float32Array.of(0.1),
      });
      await model.trainStep({ rows: 2, lengths: { time: 6 } }, [ids(2, 6)]);
      return model.readTensor('gradient', 'transformer.ln_f.weight');
    };
    await expectOwnProgram(onGpt2, frozen(true), frozen(false));
  });

  const linear = linearCase({ rows: 2, time: 3, nIn: 5, nOut: 7, bias: true });
  test.each<[string, object, object]>([
    ['outputGradients', {}, { outputGradients: { y: 'dy' } }],
    ['gradientsOf', { outputGradients: { y: 'dy' } }, { outputGradients: { y: 'dy' }, gradientsOf: ['x'] }],
  ])('%s', async (_, first, second) => {
    const inputs = batchOf(linear.graph, linear.given);
    const request = (more: object): ProgramRequest => ({
      mode: 'train',
      rows: linear.rows,
      lengths: { time: linear.time },
      outputs: ['y'],
      ...more,
    });
    await expectOwnProgram(
      (use) =>
        withModel(linear.graph, {}, async (model) => {
          await writeParameters(model, linear.given);
          return use(model);
        }),
      (model) => trace(model, request(first), inputs),
      (model) => trace(model, request(second), inputs),
    );
  });
});

describe('sampling', () => {
  const greedy = (more: Partial<SamplingSettings> = {}): SamplingSettings[] =>
    [0, 1].map(() => settingsOf({ temperature: 0, ...more }));

  /** The tokens that a session chooses after its prompts; by default there are two prompts. */
  const sample =
    (options: Partial<SessionOptions>, prompts: readonly (readonly number[])[] = [[3], [1, 2, 1, 2, 1]]) =>
    async (model: NativeModel): Promise<unknown> => {
      const temperatures = prompts.map(() => 1);
      const features = { logProbs: 0, ...options.features };
      const session = await sessionOf(model, temperatures, { ...options, features });
      await session.prefill(...padded(prompts));
      const visits = [];
      for (let i = 0; i < 6; i++)
        visits.push(
          await session.decode(1, new Uint32Array(features.mask ? 2 * prompts.length : 0).fill(0xf0)),
        );
      session.dispose();
      return visits.map(({ tokens, logProbs, topTokens }) => ({ tokens, logProbs, topTokens }));
    };

  test.each<[string, Parameters<typeof sample>, Parameters<typeof sample>]>([
    ['rows', [{}, [[3], [5], [7]]], [{}, [[3], [5]]]],
    ['time of a prompt', [{}, [[3, 4], [5]]], [{}, [[3, 4, 5], [5]]]],
    ['cache', [{ cache: 24 }], [{ cache: 7 }]],
  ])('%s', (_, first, second) => expectOwnProgram(onGpt2, sample(...first), sample(...second)));

  const bias = Float32Array.from({ length: 37 }, (_, id) => (id === 9 ? 100 : 0));
  const known = Float32Array.from({ length: 37 }, (_, id) => (id === 9 ? 0 : -Infinity));
  const everywhere = new Int32Array(2 * 25); // including the token after a full cache
  test.each<[keyof SamplingFeatures, boolean | number, Partial<SessionOptions>]>([
    ['known', true, { arrays: { known } }],
    ['bias', true, { arrays: { bias } }],
    ['mask', true, {}],
    ['sets', 1, { arrays: { sets: Int32Array.of(1 << 6, 0), setAt: everywhere } }],
    [
      'minimum',
      true,
      { settings: greedy({ minNewTokens: 3 }), endTokens: Array.from({ length: 36 }, (_, i) => i) },
    ],
    ['penalties', true, { settings: greedy({ repetitionPenalty: 1e6 }) }],
    ['ngrams', true, { settings: greedy({ noRepeatNgramSize: 1 }) }],
    ['filter', true, { settings: [0, 1].map(() => settingsOf({ topK: 1 })) }],
    ['logProbs', 2, {}],
  ])('features.%s = %p', async (feature, value, options) => {
    await expectOwnProgram(onGpt2, sample(options), sample({ ...options, features: { [feature]: value } }));
  });
});
