import type { Graph } from '../../../lib/graph/graph';
import type { NativeModel, StepResult } from '../../../lib/native';
import { runGraph } from '../../oracles/graph';
import { atStart } from '../../oracles/philox';
import { tensor } from '../../oracles/tensor';
import { OracleTrainer } from '../../oracles/training';
import { expectClose } from '../support/compare';
import { gpt2Cases, randomBatch, randomStarts, randomWeights } from '../support/gpt2_cases';
import { batchOf, SEED, withModel, writeParameters } from '../support/native';

// Rounding passes through some twenty operations one after another, so a gradient has a few times the error of one:
// 1e-6 was seen at most.
const gradientTolerance = 2.5e-6;

const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-4, weightDecay: 0.1 };
const trainable = (graph: Graph): string[] =>
  graph.parameters.filter((parameter) => parameter.trainable ?? true).map(({ name }) => name);

async function configure(
  model: NativeModel,
  learningRates: readonly number[],
  labelSmoothing = 0,
): Promise<void> {
  await model.configureTraining({
    optimizer: { type: 'adamw', ...optimizer },
    maxGradNorm: 0.5,
    labelSmoothing,
    learningRates: Float32Array.from(learningRates),
  });
}

describe.each(gpt2Cases)('%s', (_, graph) => {
  const rows = 3;
  const time = 11;
  const weights = randomWeights(graph);
  const batch = randomBatch(graph, rows, time, 5);

  test.each([
    ['fused', true, false],
    ['plain', false, false],
    ['with documents', true, true],
  ])('loss and gradients, %s', async (_name, rewrite, documents) => {
    const given = new Map(batch);
    if (documents) given.set('starts', randomStarts(rows, time, 5));
    const loss = graph.outputs['loss']!;
    const { values, gradients } = runGraph(
      graph,
      new Map([...weights, ...given]),
      new Map([[loss, tensor([1], [1 / (rows * time)])]]),
      { train: true, random: atStart(SEED), labelSmoothing: 0.1 },
    );
    await withModel(graph, {}, async (model) => {
      await writeParameters(model, weights);
      const request = {
        mode: 'train',
        rows,
        lengths: { time },
        documents,
        labelSmoothing: 0.1,
        rewrite,
      } as const;
      const { outputs } = await model.run(request, batchOf(graph, given), {
        poison: true,
        separate: rewrite,
      });
      expectClose('loss', outputs['loss']!.data, values.get(loss)!.data, 1e-6);
      for (const name of trainable(graph)) {
        const gradient = await model.readTensor('gradient', name);
        const expected = gradients.get(name)!;
        if (name.endsWith('c_attn.bias')) withoutKeyBias(gradient, expected.data);
        expectClose(`d(${name})`, gradient, expected.data, gradientTolerance);
      }
    });
  });

  test('logits and log-probabilities of evaluation: no dropout, no smoothing', async () => {
    const { values } = runGraph(graph, new Map([...weights, ...batch]), new Map(), {
      train: false,
      random: atStart(SEED),
    });
    await withModel(graph, {}, async (model) => {
      await writeParameters(model, weights);
      const outputs = ['loss', 'logits', 'logProbs'];
      const result = await model.run(
        { mode: 'eval', rows, lengths: { time }, outputs },
        batchOf(graph, batch),
        {
          poison: true,
        },
      );
      for (const output of outputs) {
        expectClose(output, result.outputs[output]!.data, values.get(graph.outputs[output]!)!.data, 1e-6);
      }
    });
  });

  test('six optimizer steps of two micro-batches', async () => {
    const learningRates = [1e-3, 2e-3, 3e-3, 3e-3, 2e-3, 1e-3].map(Math.fround);
    const oracle = new OracleTrainer(graph, randomWeights(graph));
    await withModel(graph, {}, async (model) => {
      await writeParameters(model, weights);
      await configure(model, learningRates, 0.05);
      for (const [step, learningRate] of learningRates.entries()) {
        const batches = [0, 1].map((i) => randomBatch(graph, rows, time, 100 * step + i));
        const result = await model.trainStep(
          { rows, lengths: { time } },
          batches.map((one) => batchOf(graph, one)),
        );
        const expected = oracle.step(batches, {
          ...optimizer,
          maxGradNorm: 0.5,
          labelSmoothing: 0.05,
          seed: SEED,
          learningRate,
        });
        expect(result).toMatchObject({
          validTargets: expected.valid,
          learningRate,
          applied: true,
          attemptedSteps: step + 1,
          appliedSteps: step + 1,
        });
        expect(Math.abs(result.lossSum / expected.lossSum - 1)).toBeLessThan(2e-6);
        expect(Math.abs(result.gradNorm / expected.gradNorm - 1)).toBeLessThan(gradientTolerance);
      }
      for (const name of trainable(graph)) {
        const state = oracle.state(name);
        expectClose(name, await model.readTensor('parameter', name), state.parameter, 1e-5);
        if (name.endsWith('c_attn.bias')) continue;
        expectClose(`m of ${name}`, await model.readTensor('moment1', name), state.moment1, 2e-5);
        expectClose(`v of ${name}`, await model.readTensor('moment2', name), state.moment2, 2e-5);
      }
    });
  });
});

/** A bias of keys shifts all scores of a query equally, so its gradient is zero and only rounding errors remain. */
function withoutKeyBias(actual: Float32Array, expected: Float64Array): void {
  const third = expected.length / 3;
  const largest = Math.max(...expected.map(Math.abs));
  for (let i = third; i < 2 * third; i++) {
    expect(Math.abs(actual[i]! - expected[i]!)).toBeLessThan(1e-6 * largest);
    actual[i] = expected[i]!;
  }
}

describe('what must not change a step', () => {
  const [, graph] = gpt2Cases[1]!;
  const weights = randomWeights(graph);

  async function train(
    options: Parameters<typeof withModel>[1],
    micro: readonly { rows: number; from: number }[],
  ): Promise<{ results: StepResult[]; gradient: Float32Array; parameter: Float32Array }> {
    return withModel(graph, options, async (model) => {
      await writeParameters(model, weights);
      await configure(model, [1e-3]);
      const results: StepResult[] = [];
      for (let step = 0; step < 3; step++) {
        const whole = batchOf(graph, randomBatch(graph, 4, 11, step));
        const batches = micro.map(({ rows, from }) =>
          Object.fromEntries(
            Object.entries(whole).map(([name, data]) => [name, data.slice(from * 11, (from + rows) * 11)]),
          ),
        );
        results.push(await model.trainStep({ rows: micro[0]!.rows, lengths: { time: 11 } }, batches));
      }
      const name = 'transformer.h.1.mlp.c_fc.weight';
      const gradient = await model.readTensor('gradient', name);
      return { results, gradient, parameter: await model.readTensor('parameter', name) };
    });
  }
  const whole = [{ rows: 4, from: 0 }];

  test('the number of threads: bit for bit', async () => {
    expect(await train({ threads: 2 }, whole)).toEqual(await train({ threads: 1 }, whole));
  });

  test('running it again: bit for bit', async () => {
    expect(await train({}, whole)).toEqual(await train({}, whole));
  });

  test('the padding, dropout masks included', async () => {
    const plain = await train({ padding: { vocabulary: 1, width: 1, head: 1 } }, whole);
    const wide = await train({ padding: { vocabulary: 128, width: 32, head: 16 } }, whole);
    expectClose('gradient', wide.gradient, plain.gradient, gradientTolerance);
    wide.results.forEach(({ lossSum }, i) => {
      expect(Math.abs(lossSum / plain.results[i]!.lossSum - 1)).toBeLessThan(2e-6);
    });
  });

  test('accumulation over micro-batches, dropout masks included', async () => {
    const one = await train({}, whole);
    const four = await train(
      {},
      [0, 1, 2, 3].map((from) => ({ rows: 1, from })),
    );
    expectClose('gradient', four.gradient, one.gradient, 1.5e-6);
    expectClose('parameter', four.parameter, one.parameter, 1e-6);
    four.results.forEach(({ gradNorm }, i) => {
      expect(Math.abs(gradNorm / one.results[i]!.gradNorm - 1)).toBeLessThan(gradientTolerance);
    });
  });
});

describe('initial weights', () => {
  const [, graph] = gpt2Cases[2]!;
  const draw = (options: Parameters<typeof withModel>[1]): Promise<Float32Array[]> =>
    withModel(graph, options, async (model) => {
      const read: Float32Array[] = [];
      for (const { name } of graph.parameters) read.push(await model.readTensor('parameter', name));
      return read;
    });

  test('depend only on the seed, not on padding or threads', async () => {
    const first = await draw({});
    expect(await draw({ padding: { width: 32, vocabulary: 1 }, threads: 2 })).toEqual(first);
    expect(await draw({ padding: 'chip' })).toEqual(first);
    expect(await draw({ seed: SEED + 1 })).not.toEqual(first);
  });

  test('have the mean and deviation that their initializer says', async () => {
    const drawn = await draw({});
    graph.parameters.forEach(({ init, name }, i) => {
      const values = drawn[i]!;
      if (init.type === 'constant') expect(new Set(values)).toEqual(new Set([init.value]));
      if (init.type !== 'normal') return;
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      const std = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
      // Five standard deviations of the estimates.
      expect(Math.abs(mean)).toBeLessThan((5 * init.std) / Math.sqrt(values.length));
      expect(`${name} ${Math.abs(std / init.std - 1) < 5 / Math.sqrt(2 * values.length)}`).toBe(
        `${name} true`,
      );
    });
  });

  test('sinusoidal positions are those of the paper', async () => {
    const name = 'transformer.wpe.weight';
    const drawn = (await draw({}))[graph.parameters.findIndex((parameter) => parameter.name === name)]!;
    expectClose(name, drawn, randomWeights(graph).get(name)!.data, 1e-6);
  });
});
