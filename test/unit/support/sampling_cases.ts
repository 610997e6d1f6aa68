import { gpt2 } from '../../../lib/models/gpt2';
import type {
  NativeModel,
  NativeModelOptions,
  SamplingFeatures,
  SamplingSettings,
} from '../../../lib/native';
import { choose } from '../../oracles/choose';
import { filtered, scores, type ScoreOptions } from '../../oracles/sampling';
import { randomWeights } from './gpt2_cases';
import { withModel, writeParameters } from './native';
import { padded, sessionOf, settingsOf } from './sampling';

/** Where the cases run. */
export type Where = Partial<Pick<NativeModelOptions, 'device' | 'precision' | 'padding'>>;

export const vocabSize = 61;
const graphOf = (size: number) => gpt2({ vocabSize: size, nPositions: 40, nEmbd: 30, nHead: 3, nLayer: 2 });
const graph = graphOf(vocabSize);
const weights = randomWeights(graph);
export const prompts = [[3], [1, 2, 3, 1, 2, 3, 1], [60, 0, 60]];

/** Logits after the last of `tokens`, computed from scratch. */
export async function nextLogits(
  model: NativeModel,
  tokens: readonly number[],
  size = vocabSize,
): Promise<Float32Array> {
  const { outputs } = await model.run(
    { mode: 'eval', rows: 1, lengths: { time: tokens.length }, outputs: ['logits'] },
    { tokens: Int32Array.from(tokens) },
  );
  return (outputs['logits']!.data as Float32Array).subarray((tokens.length - 1) * size);
}

export interface SamplingCase {
  /** Of a model of its own. Default 61. */
  readonly vocabSize?: number;
  readonly settings?: Partial<SamplingSettings>;
  readonly features: SamplingFeatures;
  readonly bias?: ReadonlyMap<number, number>;
  readonly endTokens?: readonly number[];
  /** Positions that a row may have. Default 40. */
  readonly cache?: number;
  /** Ids from here on are not tokens. */
  readonly known?: number;
  /** Allowed tokens by position. */
  readonly sets?: ReadonlyMap<number, readonly number[]>;
}

/** Tokens that a case samples for each row. */
export const STEPS = 20;

/** Samples, and compares each token with the oracle's choice from the model's own logits. */
export async function checkSampling(one: SamplingCase, where: Where = {}): Promise<void> {
  const size = one.vocabSize ?? vocabSize;
  const own = one.vocabSize === undefined ? graph : graphOf(size);
  await withModel(own, where, async (model) => {
    await writeParameters(model, own === graph ? weights : randomWeights(own));
    const settings = settingsOf(one.settings);
    const bias = new Float32Array(size);
    for (const [id, value] of one.bias ?? []) bias[id] = value;
    const { cache = 40 } = one;
    const known = new Float32Array(size).fill(-Infinity, one.known ?? size);
    const all = Array.from({ length: one.known ?? size }, (_, id) => id);
    const sets = new Int32Array(2 * (one.sets?.size ?? 0));
    const setAt = new Int32Array(3 * (cache + 1)).fill(-1);
    [...(one.sets ?? [])].forEach(([position, ids], set) => {
      for (const id of ids) sets[2 * set + Math.floor(id / 32)]! |= 1 << (id % 32);
      for (let row = 0; row < 3; row++) setAt[row * (cache + 1) + position] = set;
    });
    const seeds = [11, 12, 13];
    const session = await sessionOf(model, [0, 0, 0], {
      cache,
      seeds,
      settings: [settings, settings, settings],
      endTokens: one.endTokens ?? [],
      features: one.features,
      arrays: {
        ...(one.bias ? { bias } : {}),
        ...(one.known === undefined ? {} : { known }),
        ...(one.sets ? { sets, setAt } : {}),
      },
    });
    await session.prefill(...padded(prompts));
    const { tokens } = await session.decode(STEPS);
    session.dispose();
    let compared = 0;
    const rows: number[][] = [];
    for (const [row, prompt] of prompts.entries()) {
      const sequence = [...prompt];
      for (let step = 0; step < STEPS; step++) {
        const got = tokens[3 * step + row]!;
        if (got < 0) break;
        const context: ScoreOptions = {
          ...settings,
          tokens: sequence,
          promptLength: prompt.length,
          stops: one.endTokens ?? [],
          ...(one.bias ? { bias: one.bias } : {}),
          allowed: new Set(all.filter((id) => one.sets?.get(sequence.length)?.includes(id) ?? true)),
        };
        const kept = filtered(scores(await nextLogits(model, sequence, size), context), settings);
        const draw = choose(kept.scores, {
          temperature: settings.temperature,
          seed: seeds[row]!,
          step,
          site: 'choose',
        });
        expect(got).toBeLessThan(size);
        // Skip draws that rounding could decide either way.
        if (draw.margin > 1e-4 && kept.margin > 1e-5) {
          expect({ row, step, token: got }).toEqual({ row, step, token: draw.token });
          compared++;
        }
        sequence.push(got);
      }
      rows.push(sequence.slice(prompt.length));
    }
    expect(compared).toBeGreaterThan(0.8 * rows.flat().length);
    for (const row of rows) {
      expect(row.length).toBeLessThanOrEqual(settings.maxNewTokens);
      const ends = row.findIndex((id) => one.endTokens?.includes(id));
      if (ends >= 0) expect(ends).toBeGreaterThanOrEqual(settings.minNewTokens);
    }
  });
}

const filters: SamplingFeatures = { filter: true };
const penalties: SamplingFeatures = { penalties: true };

export const samplingCases: readonly (readonly [name: string, one: SamplingCase])[] = [
  ['topK', { settings: { topK: 5 }, features: filters }],
  ['topK of one is greedy', { settings: { topK: 1, temperature: 3 }, features: filters }],
  ['topK beyond the vocabulary', { settings: { topK: 1000 }, features: filters }],
  ['topP', { settings: { topP: 0.5 }, features: filters }],
  ['topP of almost nothing', { settings: { topP: 1e-6 }, features: filters }],
  ['topP, hot', { settings: { topP: 0.9, temperature: 50 }, features: filters }],
  ['topP, cold', { settings: { topP: 0.9, temperature: 0.05 }, features: filters }],
  ['minP', { settings: { minP: 0.3 }, features: filters }],
  ['all filters', { settings: { topK: 20, topP: 0.8, minP: 0.05, temperature: 1.5 }, features: filters }],
  ['filters at temperature 0', { settings: { topK: 3, topP: 0.5, temperature: 0 }, features: filters }],
  ['repetition', { settings: { repetitionPenalty: 1.5 }, features: penalties }],
  ['frequency', { settings: { frequencyPenalty: 0.7 }, features: penalties }],
  ['presence', { settings: { presencePenalty: 1.1 }, features: penalties }],
  [
    'all penalties',
    {
      settings: { repetitionPenalty: 1.2, frequencyPenalty: -0.4, presencePenalty: 0.5 },
      features: penalties,
    },
  ],
  ['no token twice', { settings: { noRepeatNgramSize: 1 }, features: { ngrams: true } }],
  ['no pair twice', { settings: { noRepeatNgramSize: 2, temperature: 0.2 }, features: { ngrams: true } }],
  ['no three twice', { settings: { noRepeatNgramSize: 3, temperature: 0 }, features: { ngrams: true } }],
  [
    'bias',
    {
      bias: new Map([
        [4, 3],
        [9, -Infinity],
        [60, 2.5],
      ]),
      features: { bias: true },
    },
  ],
  [
    'sets by position',
    {
      sets: new Map([
        [4, [1, 2]],
        [9, [60]],
        [12, [0, 31, 32, 59]],
      ]),
      features: { sets: 4 },
    },
  ],
  [
    'sets up to the place behind a full cache',
    {
      cache: 12,
      sets: new Map([
        [11, [5, 6]],
        [12, [60, 2]],
      ]),
      features: { sets: 2 },
    },
  ],
  ['ids without a token', { known: 33, features: { known: true } }],
  [
    'ids without a token, penalties and filters',
    {
      known: 20,
      bias: new Map([[25, 9]]),
      settings: { repetitionPenalty: 1.3, topP: 0.9 },
      features: { known: true, bias: true, penalties: true, filter: true },
    },
  ],
  [
    'a least length',
    { settings: { minNewTokens: 9 }, endTokens: [1, 5, 7, 20, 33, 40, 50], features: { minimum: true } },
  ],
  [
    'filters over many tokens',
    { vocabSize: 2003, settings: { topK: 300, topP: 0.9, minP: 0.001 }, features: filters },
  ],
  [
    'topP over many tokens, hot',
    { vocabSize: 2003, settings: { topP: 0.7, temperature: 30 }, features: filters },
  ],
  [
    'topK over many tokens, cold',
    { vocabSize: 2003, settings: { topK: 1500, temperature: 0.1 }, features: filters },
  ],
  [
    'everything',
    {
      settings: {
        topK: 30,
        topP: 0.95,
        minP: 0.01,
        temperature: 1.3,
        repetitionPenalty: 1.1,
        frequencyPenalty: 0.1,
        presencePenalty: 0.1,
        noRepeatNgramSize: 2,
        minNewTokens: 5,
        maxNewTokens: 15,
      },
      bias: new Map([[3, 1]]),
      endTokens: [8, 9],
      sets: new Map([[6, [1, 2, 3, 4, 5]]]),
      features: {
        bias: true,
        sets: 4,
        minimum: true,
        penalties: true,
        ngrams: true,
        filter: true,
        logProbs: 3,
      },
    },
  ],
];

/** Log-probabilities are those of the model, whatever the options. */
export async function checkLogProbs(where: Where = {}): Promise<void> {
  await withModel(graph, where, async (model) => {
    await writeParameters(model, weights);
    const settings = settingsOf({ temperature: 2, topK: 7, repetitionPenalty: 1.3 });
    const session = await sessionOf(model, [0, 0, 0], {
      cache: 40,
      settings: [settings, settings, settings],
      features: { filter: true, penalties: true, logProbs: 4 },
    });
    await session.prefill(...padded(prompts));
    const visits = [await session.decode(3), await session.decode(5)];
    session.dispose();
    for (const [row, prompt] of prompts.entries()) {
      const sequence = [...prompt];
      for (const visit of visits) {
        for (let step = 0; step < visit.steps; step++) {
          const logits = await nextLogits(model, sequence);
          const most = Math.max(...logits);
          const total = logits.reduce((sum, z) => sum + Math.exp(z - most), 0);
          const logProb = (id: number): number => logits[id]! - most - Math.log(total);
          const order = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b);
          const at = 3 * step + row;
          const token = visit.tokens[at]!;
          // A sum of 61 fp32 terms, of logits computed by another path.
          expect(visit.logProbs[at]).toBeCloseTo(logProb(token), 4);
          expect([...visit.topTokens.subarray(4 * at, 4 * at + 4)]).toEqual(order.slice(0, 4));
          for (let k = 0; k < 4; k++)
            expect(visit.topLogProbs[4 * at + k]).toBeCloseTo(logProb(order[k]!), 4);
          sequence.push(token);
        }
      }
    }
  });
}

/** No token of the padding is chosen. */
export async function checkPadding(temperature: number, where: Where = {}): Promise<void> {
  await withModel(graph, where, async (model) => {
    // All logits are equal, and zero like those of the padding.
    for (const { name, shape } of model.info.parameters)
      await model.writeTensor('parameter', name, new Float32Array(shape.reduce((a, b) => a * b, 1)));
    const everything = {
      bias: true,
      penalties: true,
      ngrams: true,
      filter: true,
      minimum: true,
      logProbs: 20,
    };
    for (const features of [{}, { filter: true }, { penalties: true }, everything] as SamplingFeatures[]) {
      const settings = settingsOf({ temperature, topK: 60, topP: 0.99, minP: 0.001 });
      const bias = new Float32Array(vocabSize).fill(-3);
      const session = await sessionOf(model, [0, 0, 0, 0, 0, 0, 0, 0], {
        settings: Array<SamplingSettings>(8).fill(settings),
        features,
        ...(features.bias ? { arrays: { bias } } : {}),
      });
      await session.prefill(...padded(Array<number[]>(8).fill([1])));
      const { tokens, topTokens } = await session.decode(20);
      session.dispose();
      expect(Math.max(...tokens, ...topTokens)).toBeLessThan(vocabSize);
      expect(Math.min(...tokens)).toBeGreaterThanOrEqual(0);
    }
  });
}

/** A row samples the same beside others as alone. */
export async function checkAlone(where: Where = {}): Promise<void> {
  await withModel(graph, where, async (model) => {
    await writeParameters(model, weights);
    const rows = Array.from({ length: 17 }, (_, row) =>
      Array.from({ length: 1 + ((row * 5) % 11) }, (_unused, i) => (row * 7 + i * 3) % vocabSize),
    );
    const settings = settingsOf({ temperature: 1, topP: 0.9 });
    const sample = async (chosen: readonly number[]): Promise<number[][]> => {
      const session = await sessionOf(
        model,
        chosen.map(() => 0),
        {
          cache: 40,
          seeds: chosen,
          settings: chosen.map(() => settings),
          features: { filter: true },
        },
      );
      await session.prefill(...padded(chosen.map((row) => rows[row]!)));
      const { tokens } = await session.decode(16);
      session.dispose();
      return chosen.map((_, at) => [...tokens].filter((_token, i) => i % chosen.length === at));
    };
    const together = await sample(rows.map((_, row) => row));
    for (const row of [0, 3, 16]) expect((await sample([row]))[0]).toEqual(together[row]);
    expect((await sample([5, 2]))[1]).toEqual(together[2]);
  });
}
