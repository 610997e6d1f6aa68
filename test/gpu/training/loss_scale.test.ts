import { readFileSync } from 'node:fs';
import path from 'node:path';
import { gpt2 } from '../../../lib/models/gpt2';
import { fromHuggingFace } from '../../../lib/models/gpt2_config_file';
import { Model } from '../../../lib/models/model';
import { Trainer } from '../../../lib/training/trainer';
import { failureOf } from '../../unit/support/errors';
import { batchOfStep, curve, distances, startCurve } from '../../unit/support/curve';
import { withModel } from '../../unit/support/native';
import { countingDataset, TINY } from '../../unit/support/tiny_model';
import { gpu } from '../support/gpu';

interface Trace {
  readonly scaling: Readonly<
    Record<'init_scale' | 'growth_factor' | 'backoff_factor' | 'growth_interval', number>
  >;
  readonly steps: readonly { readonly loss: number; readonly applied: boolean; readonly scale: number }[];
}

/** See test/fixtures/make_loss_scale_trace.py. */
const trace = JSON.parse(
  readFileSync(path.resolve(__dirname, '../../fixtures/loss_scale_trace.json'), 'utf8'),
) as Trace;

const graph = gpt2(fromHuggingFace(curve.config).config);
const time = curve.batches.shape[2] - 1;

test('fp16 through forced overflows has the trace of PyTorch’s GradScaler', async () => {
  const { init_scale, growth_factor, backoff_factor, growth_interval } = trace.scaling;
  const scaling = {
    initScale: init_scale,
    growthFactor: growth_factor,
    backoffFactor: backoff_factor,
    growthInterval: growth_interval,
  };
  await withModel(graph, { device: gpu, precision: 'fp16' }, async (model) => {
    await startCurve(model, graph, { lossScaling: scaling });
    const steps = [];
    let applied = 0;
    for (let step = 0; step < trace.steps.length; step++) {
      const result = await model.trainStep({ rows: curve.training.batch_size, lengths: { time } }, [
        batchOfStep(step),
      ]);
      expect(result.learningRate).toBe(curve.learning_rates[applied]);
      applied += result.applied ? 1 : 0;
      expect(result).toMatchObject({ attemptedSteps: step + 1, appliedSteps: applied });
      steps.push({
        loss: result.lossSum / result.validTargets,
        applied: result.applied,
        scale: result.lossScale,
      });
    }
    const decisions = (list: Trace['steps']): object[] =>
      list.map((step) => ({ applied: step.applied, scale: step.scale }));
    expect(decisions(steps)).toEqual(decisions(trace.steps));
    // As between two fp16 runs and fp64, 1e-3 each; one in fp16 against the other adds up to twice that.
    const losses = (list: Trace['steps']): number[] => list.map(({ loss }) => loss);
    expect(distances(losses(steps), losses(trace.steps))).toBeLessThan(3e-3);
  });
});

describe('Trainer in fp16', () => {
  const trainer = async (lossScaling?: object): Promise<[Model, Trainer]> => {
    const model = await Model.create(TINY, { device: gpu as 'cuda:0', precision: 'fp16', seed: 1 });
    const args = { maxSteps: 40, batchSize: 2, loggingSteps: 1, ...(lossScaling ? { lossScaling } : {}) };
    return [model, new Trainer(model, { arguments: args, train: countingDataset() })];
  };

  test('learns with the default scale, and its events carry it', async () => {
    const [model, one] = await trainer();
    using _ = model;
    const losses: number[] = [];
    for await (const event of one) {
      if (event.type !== 'step') continue;
      expect(event).toMatchObject({ lossScale: 65536, skippedSteps: 0 });
      losses.push(event.loss);
    }
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
  });

  test('counts skipped steps and goes on', async () => {
    const [model, one] = await trainer({ initScale: 2 ** 40, backoffFactor: 2 ** -8 });
    using _ = model;
    const scales: [number, number][] = [];
    for await (const event of one)
      if (event.type === 'step') scales.push([event.skippedSteps, event.lossScale!]);
    expect(scales.slice(0, 2)).toEqual([
      [1, 2 ** 32],
      [2, 2 ** 24],
    ]);
    const [skipped, scale] = scales.at(-1)!;
    expect(skipped).toBeGreaterThanOrEqual(2);
    expect(scale).toBe(2 ** (40 - 8 * skipped));
    expect(await model.native.counters()).toEqual({ attempted: 40, applied: 40 - skipped });
  });

  test('stops with a report after too many skipped steps in a row', async () => {
    const [model, one] = await trainer({ initScale: 2 ** 100, maxSkippedSteps: 5 });
    using _ = model;
    const { message, details } = await failureOf('ERR_NON_FINITE', () => one.train());
    expect(message).toMatch(/^5 steps in a row up to step 5 were skipped/);
    expect(details).toMatchObject({ step: 5, skippedInRow: 5, lossScale: 2 ** 95 });
  });
});
