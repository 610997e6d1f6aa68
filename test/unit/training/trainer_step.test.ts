import { Trainer } from '../../../lib/training/trainer';
import { failureOf } from '../support/errors';
import { disposeModels, tinyModel } from '../support/tiny_model';
import { ARGUMENTS, trainer } from '../support/tiny_trainer';

afterEach(disposeModels);

describe('Trainer.step', () => {
  it('lets two calls of step() run at once, and refuses a third', async () => {
    const one = await trainer();
    const batch = { tokens: [[1, 2, 3]] };
    await one.step(batch);
    const [second, third] = [one.step(batch), one.step(batch)];
    await failureOf('ERR_BUSY', () => one.step(batch));
    await failureOf('ERR_BUSY', () => one.train());
    expect([(await second).step, (await third).step]).toEqual([2, 3]);
    expect(one.globalStep).toBe(3);
    expect((await one.step(batch)).step).toBe(4);
  });

  it('applies no step whose loss is infinite, though its gradient is finite', async () => {
    const model = await tinyModel({ tieWordEmbeddings: false });
    const one = new Trainer(model, { arguments: { ...ARGUMENTS, maxSteps: 3 } });
    // The logit of token 0 is −∞ for most contexts: its loss is infinite, the gradient p − 1 is not.
    const head = await model.native.readTensor('parameter', 'lm_head.weight');
    head.fill(-3e38, 0, head.length / 32);
    await model.native.writeTensor('parameter', 'lm_head.weight', head);
    const tokens = [[1, 2, 3, 4]];
    await failureOf('ERR_NON_FINITE', () => one.step({ tokens, targets: [[0, 0, 0, 0]] }));
    expect(await model.native.counters()).toEqual({ attempted: 1, applied: 0 });
    expect(await model.native.readTensor('parameter', 'lm_head.weight')).toEqual(head);
  });

  it('draws the same random numbers for micro-batches whatever capacity they are padded to', async () => {
    const row = (start: number): number[] => Array.from({ length: 16 }, (_, i) => (start + i) % 32);
    const losses: number[] = [];
    for (const room of [4, 5, 6]) {
      const model = await tinyModel();
      const one = new Trainer(model, { arguments: { ...ARGUMENTS, learningRate: 0 } });
      // From here on there is a capacity of this many rows, to which smaller batches are padded.
      await one.step({ tokens: Array.from({ length: room }, (_, r) => row(r)) });
      const halves = [1, 5].map((from) => ({ tokens: [0, 1, 2, 3].map((r) => row(from + r)) }));
      losses.push((await one.step(halves)).loss);
    }
    // The same sums in blocks of other rows.
    expect(losses[1]).toBeCloseTo(losses[0]!, 6);
    expect(losses[2]).toBeCloseTo(losses[0]!, 6);
  });

  it('takes rows of unequal length, padded without effect', async () => {
    const run = async (lengths: 'given' | 'cut'): Promise<number> => {
      const one = new Trainer(await tinyModel({ residPdrop: 0 }), { arguments: ARGUMENTS });
      const rows = [
        [1, 2, 3, 4, 5, 6],
        [7, 8, 9],
      ];
      const metrics =
        lengths === 'cut'
          ? await one.step({ tokens: rows })
          : await one.step({ tokens: [rows[0] ?? [], [7, 8, 9, 31, 30, 29]], lengths: [6, 3] });
      expect(metrics).toMatchObject({ step: 1, tokens: 7, applied: true });
      return metrics.loss;
    };
    expect(await run('given')).toBe(await run('cut'));
  });

  it('owns its batch when it returns: the caller may fill its arrays again at once', async () => {
    const batches = [3, 11].map((start) => Int32Array.from({ length: 32 }, (_, i) => (start + i) % 32));
    const losses = async (reuse: boolean): Promise<number[]> => {
      const one = await trainer();
      const arrays = (): { tokens: Int32Array; targets: Int32Array } => ({
        tokens: new Int32Array(32),
        targets: new Int32Array(32),
      });
      const buffer = arrays();
      const seen: number[] = [];
      for (let pair = 0; pair < 2; pair++) {
        const underWay = batches.map((tokens) => {
          const { tokens: into, targets } = reuse ? buffer : arrays();
          into.set(tokens);
          targets.set(tokens.map((token) => (token + 1) % 32));
          return one.step({ tokens: into, targets, rows: 2 });
        });
        seen.push(...(await Promise.all(underWay)).map(({ loss }) => loss));
      }
      return seen;
    };
    expect(await losses(true)).toEqual(await losses(false));
  });

  it('accumulates batches of different lengths', async () => {
    const one = new Trainer(await tinyModel(), { arguments: ARGUMENTS });
    const metrics = await one.step([
      { tokens: [[1, 2, 3]] },
      {
        tokens: [
          [4, 5],
          [6, 7],
        ],
      },
    ]);
    expect(metrics).toMatchObject({ step: 1, tokens: 4 });
  });

  it('trains an encoder on targets that are given', async () => {
    const model = await tinyModel({ isEncoder: true, nTypes: 2, nStypes: 2 });
    const one = new Trainer(model, { arguments: { ...ARGUMENTS, maxSteps: 60 } });
    const batch = {
      tokens: [
        [0, 2, 3],
        [0, 5],
      ],
      targets: [
        [1, -100, -100],
        [4, -100],
      ],
      types: [
        [0, 1, 1],
        [0, 0],
      ],
      subtypes: [
        [1, 1, 0],
        [0, 1],
      ],
    };
    const first = await one.step(batch);
    expect(first.tokens).toBe(2);
    let last = first;
    for (let i = 0; i < 50; i++) last = await one.step(batch);
    expect(last.loss).toBeLessThan(first.loss / 2);
  });

  it("refuses inputs that the model can't read, and keeps working", async () => {
    const one = new Trainer(await tinyModel(), { arguments: ARGUMENTS });
    await failureOf('ERR_DATA', () => one.step([]));
    await failureOf('ERR_DATA', () => one.step(undefined as never));
    await failureOf('ERR_DATA', () => one.step({ tokens: [] }));
    await failureOf('ERR_DATA', () => one.step({ tokens: [[1, 32]] }));
    await failureOf('ERR_DATA', () => one.step({ tokens: [[1, -1]] }));
    await failureOf('ERR_DATA', () => one.step({ tokens: [[1]] }));
    await failureOf('ERR_DATA', () => one.step({ tokens: [[1, 2]], types: [[0, 0]] }));
    expect(one.globalStep).toBe(1); // a single token has no target: that shows when the step is tried
    expect((await one.step({ tokens: [[1, 2]] })).step).toBe(2);
  });
});
