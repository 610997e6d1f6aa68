import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { NativeModel, Precision } from '../../../lib/native';
import { batchOf, withModel } from '../../unit/support/native';
import { randomBatch } from '../../unit/support/gpt2_cases';
import {
  checkFreezing,
  checkOptimizer,
  optimizerCases,
  optimizerGraph as graph,
} from '../../unit/support/optimizers';
import { checkResumes, resumedArguments } from '../../unit/support/resuming';
import { disposeModels } from '../../unit/support/tiny_model';
import { gpu } from '../support/gpu';

const precisions = ['fp32', 'bf16', 'fp16'] as const satisfies readonly Precision[];
// A rounding to 16 bits may come before a sum or after it, as what is fused.
const freezing = { fp32: 1e-5, bf16: 2 ** -8, fp16: 2 ** -11 } as const;
const table = (from: number, to: number): Float32Array =>
  Float32Array.from({ length: 8 }, (_, i) => from + ((to - from) * i) / 7);

/** What products see of the weights: the 16-bit copies. */
async function logitsOf(model: NativeModel): Promise<ArrayLike<number>> {
  const request = { mode: 'eval', rows: 2, lengths: { time: 5 }, outputs: ['logits'] } as const;
  return (await model.run(request, batchOf(graph, randomBatch(graph, 2, 5, 0)))).outputs['logits']!.data;
}

describe.each(precisions)('%s', (precision) => {
  test.each(optimizerCases)('%s: eight steps follow the oracle', async (_, optimizer, moments) => {
    const frozen = 'transformer.h.0.attn.c_attn.bias';
    await checkOptimizer(optimizer, Math.max(moments, 1), {
      model: { device: gpu, precision },
      learningRates: table(0.02, 0.001),
      momenta: table(0.95, 0.85),
      emaDecay: 0.75,
      parameters: {
        'transformer.wte.weight': { learningRateScale: 0.25 },
        'transformer.ln_f.bias': { weightDecay: 0.5 },
        [frozen]: { trainable: false },
      },
      look: async (model) => {
        // A model that is given the same parameters makes the 16-bit copies anew.
        await withModel(graph, { device: gpu, precision }, async (other) => {
          for (const { name } of graph.parameters)
            await other.writeTensor('parameter', name, await model.readTensor('parameter', name));
          expect(await logitsOf(model)).toEqual(await logitsOf(other));
        });
      },
    });
    await checkOptimizer(optimizer, moments, { model: { device: gpu, precision } });
  });

  test('a frozen parameter has no gradient, and others have theirs', () =>
    checkFreezing({ device: gpu, precision }, freezing[precision]));

  test('the moving average follows the parameters, and a step that is not applied moves neither', async () => {
    const [, optimizer] = optimizerCases[0]!;
    const name = 'transformer.h.0.mlp.c_fc.weight';
    await withModel(graph, { device: gpu, precision }, async (model) => {
      await model.configureTraining({
        optimizer,
        emaDecay: 0.75,
        maxGradNorm: 0,
        labelSmoothing: 0,
        learningRates: Float32Array.of(0.01),
      });
      const ema = Float64Array.from(await model.readTensor('parameter', name));
      for (let step = 0; step < 5; step++) {
        const batch = batchOf(graph, randomBatch(graph, 2, 5, step));
        await model.trainStep({ rows: 2, lengths: { time: 5 } }, [batch]);
        const parameter = await model.readTensor('parameter', name);
        ema.forEach((value, i) => (ema[i] = 0.75 * value + 0.25 * parameter[i]!));
        const read = await model.readTensor('ema', name);
        // Five steps of three roundings of 2⁻²⁴ of parameters below 1.
        expect(Math.max(...read.map((value, i) => Math.abs(value - ema[i]!)))).toBeLessThan(5e-7);
        const ignored = { ...batch, targets: new Int32Array(10).fill(-100) };
        expect((await model.trainStep({ rows: 2, lengths: { time: 5 } }, [ignored])).applied).toBe(false);
        expect(await model.readTensor('ema', name)).toEqual(read);
        expect(await model.readTensor('parameter', name)).toEqual(parameter);
      }
    });
  });
});

describe('checkpoints', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'tesserae-optimizers-'));
  });
  afterEach(async () => {
    disposeModels();
    await rm(folder, { recursive: true });
  });

  test.each(resumedArguments)('of %s are resumed bit by bit', async (_, args) => {
    for (const precision of ['bf16', 'fp16'] as const)
      await checkResumes(path.join(folder, precision), args, { device: gpu as 'cuda:0', precision });
  });
});
