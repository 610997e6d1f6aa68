import { evaluateModel } from '../../../lib/training/evaluation';
import { Trainer } from '../../../lib/training/trainer';
import { BATCH, type Graph } from '../../../lib/graph/graph';
import { count, GraphBuilder, head } from '../../../lib/graph/builder';
import { expectClose } from '../support/compare';
import { packedAndPadded } from '../support/documents';
import { failureOf } from '../support/errors';
import { gpt2Cases } from '../support/gpt2_cases';
import { withModel } from '../support/native';
import { countingDataset, disposeModels, tinyModel } from '../support/tiny_model';

afterEach(disposeModels);

// Rounding errors pass through about twenty operations, and a packed row sums in another order than padded rows.
const tolerance = 2.5e-6;

// Dropout draws by row and position, so the masks of a document depend on where it lies.
const cases = gpt2Cases.filter(([name]) => !name.includes('dropout'));

test.each(cases)('packed documents train as documents of their own rows do: %s', async (_, graph) => {
  const { packed, padded } = await packedAndPadded(graph);
  packed.results.forEach(({ validTargets, lossSum, gradNorm }, i) => {
    const expected = padded.results[i]!;
    expect(validTargets).toBe(expected.validTargets);
    expect(Math.abs(lossSum / expected.lossSum - 1)).toBeLessThan(1e-6);
    expect(Math.abs(gradNorm / expected.gradNorm - 1)).toBeLessThan(tolerance);
  });
  for (const [name, gradient] of packed.gradients) {
    const expected = padded.gradients.get(name)!;
    // A bias of keys shifts all scores of a query equally, so its gradient is zero and only rounding errors remain.
    const isZero = (i: number): boolean =>
      name.endsWith('c_attn.bias') && Math.floor((3 * i) / expected.length) === 1;
    const of = (values: Float32Array): Float32Array => values.filter((_, i) => !isZero(i));
    expectClose(`d(${name})`, of(gradient), of(expected), tolerance);
  }
});

describe('a trainer', () => {
  const together = { tokens: [[1, 2, 3, 4, 5, 6, 7]], documentStarts: [[0, 3]] };
  const apart = {
    tokens: [
      [1, 2, 3],
      [4, 5, 6, 7],
    ],
  };

  it('learns from packed rows, beside others in one step', async () => {
    const run = async (first: typeof together | typeof apart) => {
      const model = await tinyModel({ residPdrop: 0 });
      const one = new Trainer(model, { arguments: { maxSteps: 1, outputDir: '/nowhere' } });
      return one.step([first, { tokens: [[8, 9, 10]] }]);
    };
    const [packed, expected] = [await run(together), await run(apart)];
    expect(packed.tokens).toBe(expected.tokens);
    expect(Math.abs(packed.loss / expected.loss - 1)).toBeLessThan(1e-6);
  });

  it('evaluates on packed rows', async () => {
    const model = await tinyModel();
    const loss = async (batch: typeof together | typeof apart): Promise<number> => {
      const dataset = {
        ...countingDataset(8),
        async *evaluationBatches() {
          yield batch;
        },
      };
      return (await evaluateModel(model, dataset, { rows: 2, batches: 1 })).loss;
    };
    expect(Math.abs((await loss(together)) / (await loss(apart)) - 1)).toBeLessThan(1e-6);
  });
});

describe('an optional input', () => {
  const build = (outputs: (g: GraphBuilder, starts: string) => Record<string, string>): Graph => {
    const g = new GraphBuilder('optional');
    g.lengthAxis('time');
    const starts = g.input('starts', [BATCH, 'time'], { kind: 'starts', optional: true });
    return g.build(outputs(g, starts));
  };
  const attention = build((g, starts) => {
    const axis = g.axis('qkv', count(3), count(1), head(8));
    return {
      y: g.node(
        'attention',
        'node',
        { qkv: g.input('qkv', [BATCH, 'time', axis], { kind: 'values', dtype: 'float32' }), starts },
        { causal: true },
      ),
    };
  });
  const run = (graph: Graph, documents: boolean, inputs: Record<string, Int32Array | Float32Array>) =>
    withModel(graph, {}, (model) =>
      model.run(
        { mode: 'eval', rows: 1, lengths: { time: 2 }, documents, outputs: Object.keys(graph.outputs) },
        inputs,
      ),
    );

  it('is required for programs with documents, and refused for others', async () => {
    const qkv = new Float32Array(48);
    const starts = Int32Array.of(0, 1);
    const missing = await failureOf('ERR_DATA', () => run(attention, true, { qkv }));
    expect(missing.message).toMatch(/the batch has no 'starts'/);
    const unread = await failureOf('ERR_DATA', () => run(attention, false, { qkv, starts }));
    expect(unread.message).toMatch(/'starts' is given to a program without documents/);
  });

  it("can't be an output, nor a required input of an operation", async () => {
    const output = build((_, starts) => ({ y: starts }));
    await failureOf('ERR_CONFIG', () => run(output, false, {}));
    const needed = build((g, starts) => ({
      y: g.node('activation', 'node', { x: starts }, { function: 'relu' }),
    }));
    await failureOf('ERR_CONFIG', () => run(needed, true, { starts: Int32Array.of(0, 0) }));
  });
});
