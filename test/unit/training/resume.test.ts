import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { manifestText } from '../../../lib/checkpoint/manifest';
import type { ModelOptions } from '../../../lib/models/model';
import type { GPT2Options } from '../../../lib/models/gpt2_config';
import type { TrainingArguments } from '../../../lib/training/arguments';
import type { TrainerEvent } from '../../../lib/training/events';
import { Trainer } from '../../../lib/training/trainer';
import { failureOf } from '../support/errors';
import { countingDataset, disposeModels, tinyModel } from '../support/tiny_model';
import { bitsOf, eventsOf } from '../support/training_bits';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-resume-'));
});
afterEach(async () => {
  disposeModels();
  await rm(folder, { recursive: true });
});

const at = (...names: string[]): string => path.join(folder, ...names);

/** Dropout everywhere, accumulation, warmup, a decaying rate, and reports that fall between the checkpoints. */
const ARGUMENTS: TrainingArguments = {
  maxSteps: 12,
  batchSize: 2,
  gradientAccumulationSteps: 2,
  learningRate: 1e-2,
  warmupSteps: 3,
  loggingSteps: 3,
  evalSteps: 4,
  saveSteps: 5,
  seed: 7,
};
const DROPOUT = { residPdrop: 0.1, embdPdrop: 0.2, attnPdrop: 0.1 };

async function trainer(
  args: Partial<TrainingArguments> = {},
  config: Partial<GPT2Options> = {},
  options: ModelOptions = {},
): Promise<Trainer> {
  return new Trainer(await tinyModel({ ...DROPOUT, ...config }, options), {
    arguments: { ...ARGUMENTS, outputDir: folder, ...args },
    train: countingDataset(),
    evaluation: countingDataset(),
  });
}

describe('resume', () => {
  it('continues bit by bit as if the run had never stopped', async () => {
    const whole = await trainer({ outputDir: at('whole') });
    const wanted = await eventsOf(whole);
    await eventsOf(await trainer({ outputDir: at('cut') }), 5);
    const resumed = await trainer({ outputDir: at('cut') });
    expect(await resumed.resume()).toEqual({
      path: at('cut', 'checkpoint-5'),
      step: 5,
      damaged: [],
      differences: [],
    });
    expect(resumed.globalStep).toBe(5);
    const events = await eventsOf(resumed);
    // Steps 6 to 12: the mean loss of step 6 is over steps 4 to 6, and steps 4 and 5 came before.
    expect(events).toEqual(wanted.filter((event) => (event as TrainerEvent).step > 5));
    expect(await bitsOf(resumed)).toEqual(await bitsOf(whole));
  });

  it('continues a loop of step() calls', async () => {
    const batch = { tokens: [[1, 2, 3, 4, 5]] };
    const losses = async (one: Trainer, count: number): Promise<number[]> => {
      const seen: number[] = [];
      for (let i = 0; i < count; i++) seen.push((await one.step(batch)).loss);
      return seen;
    };
    const one = await trainer();
    await losses(one, 3);
    await one.save(at('mine'));
    const wanted = await losses(one, 3);
    const resumed = await trainer();
    await resumed.resume(at('mine'));
    expect(await losses(resumed, 3)).toEqual(wanted);
  });

  it('continues a trainer that had not begun, and goes back to before one has', async () => {
    const one = await trainer();
    await one.save(at('begin'));
    expect(await readdir(at('begin'))).not.toContain('optimizer.safetensors');
    const wanted = await eventsOf(one);
    const bits = await bitsOf(one);
    const other = await trainer({ outputDir: at('other') });
    await other.resume(at('begin'));
    expect(await eventsOf(other)).toEqual(wanted);
    expect(await bitsOf(other)).toEqual(bits);
    // A trainer that has trained meanwhile is reset, with its moments.
    await one.resume(at('begin'));
    expect(await eventsOf(one)).toEqual(wanted);
    expect(await bitsOf(one)).toEqual(bits);
  });

  it('ends immediately if no step is left', async () => {
    await eventsOf(await trainer());
    const again = await trainer();
    expect((await again.resume()).step).toBe(12);
    expect(await eventsOf(again)).toMatchObject([{ type: 'end', reason: 'maxSteps', step: 12 }]);
  });

  it('lets a run report and save differently', async () => {
    await eventsOf(await trainer(), 5);
    const again = await trainer({ loggingSteps: 1, saveSteps: 0, evalSteps: 0, saveTotalLimit: 3 });
    expect((await again.resume()).step).toBe(5);
  });

  it('knows a schedule of the caller’s own by its rates', async () => {
    const own = (rate: number) => trainer({ lrScheduler: () => rate, warmupSteps: 0 });
    await eventsOf(await own(1e-3), 5);
    expect((await (await own(1e-3)).resume()).step).toBe(5);
    const { message } = await failureOf('ERR_CHECKPOINT', async () => (await own(2e-3)).resume());
    expect(message).toMatch(/training\.lrScheduler was 'a function with rates/);
  });

  it.each<[string, RegExp, () => Promise<Trainer>]>([
    [
      'other arguments',
      /training\.learningRate was 0\.01, but is 0\.001 now/,
      () => trainer({ learningRate: 1e-3, minLearningRate: 1e-3 }),
    ],
    [
      'a run that is shorter by now',
      /training\.maxSteps is 4 now, but 5 steps were done/,
      () => trainer({ maxSteps: 4 }),
    ],
    ['another model', /model\.nEmbd was 16, but is 32 now/, () => trainer({}, { nEmbd: 32 })],
    ['another seed of the model', /seedOfModel was 1, but is 2 now/, () => trainer({}, {}, { seed: 2 })],
    [
      'shorter rows',
      /blockSize was 8, but is 4 now/,
      async () =>
        new Trainer(await tinyModel(DROPOUT), {
          arguments: { ...ARGUMENTS, outputDir: folder },
          train: countingDataset(4),
        }),
    ],
  ])('refuses a checkpoint of %s, names the difference and changes nothing', async (_, message, other) => {
    await eventsOf(await trainer(), 5);
    const one = await other();
    const before = await one.model.logits([[1, 2, 3]]);
    const { message: said, details } = await failureOf('ERR_CHECKPOINT', () => one.resume());
    expect(said).toMatch(message);
    expect(details['differences']).toEqual(expect.arrayContaining([expect.stringMatching(message)]));
    expect(await one.model.logits([[1, 2, 3]])).toEqual(before);
    expect(one.globalStep).toBe(0);
  });

  it('reports what may change the bits', async () => {
    const one = await trainer();
    await one.step({ tokens: [[1, 2, 3]] });
    await one.save(at('saved'));
    const name = at('saved', 'trainer_state.json');
    await writeFile(name, (await readFile(name, 'utf8')).replace(/"library": ".*"/, '"library": "0.0.1"'));
    await rm(at('saved', 'manifest.json'));
    await failureOf('ERR_CHECKPOINT', () => one.resume(at('saved')));
    await remanifest(at('saved'));
    expect((await one.resume(at('saved'))).differences).toEqual([
      expect.stringMatching(/^library was '0\.0\.1', but is '/),
    ]);
  });

  it('continues in another precision without the saved loss scale, and says so', async () => {
    const one = await trainer();
    await one.step({ tokens: [[1, 2, 3]] });
    await one.save(at('saved'));
    const wanted = await one.step({ tokens: [[4, 5, 6]] });
    const name = at('saved', 'trainer_state.json');
    const state = JSON.parse(await readFile(name, 'utf8')) as { optimizer: object; arguments: object };
    const lossScaler = { scale: 1024, cleanSteps: 7, skippedInRow: 2 };
    await writeFile(
      name,
      JSON.stringify({
        ...state,
        precision: 'fp16',
        optimizer: { ...state.optimizer, lossScaler },
        arguments: { ...state.arguments, lossScaling: { initScale: 1024 } },
      }),
    );
    await rm(at('saved', 'manifest.json'));
    await remanifest(at('saved'));
    const { differences } = await one.resume(at('saved'));
    expect(differences).toEqual(["precision was 'fp16', but is 'fp32' now"]);
    expect((await one.model.native.scaler()).scale).toBe(1);
    const { loss } = await one.step({ tokens: [[4, 5, 6]] });
    expect(loss).toBe(wanted.loss);
  });

  it('restores the loss scaler', async () => {
    const one = await trainer();
    await one.step({ tokens: [[1, 2, 3]] });
    await one.save(at('saved'));
    // The CPU has no fp16, whose scale would have changed by itself.
    const name = at('saved', 'trainer_state.json');
    const lossScaler = { scale: 1024, cleanSteps: 7, skippedInRow: 2 };
    const state = JSON.parse(await readFile(name, 'utf8')) as { optimizer: object };
    await writeFile(name, JSON.stringify({ ...state, optimizer: { ...state.optimizer, lossScaler } }));
    await rm(at('saved', 'manifest.json'));
    await remanifest(at('saved'));
    await one.resume(at('saved'));
    expect(await one.model.native.scaler()).toEqual(lossScaler);
  });

  it('says what is missing or in the way', async () => {
    await failureOf('ERR_CHECKPOINT', async () => (await trainer()).resume());
    await failureOf('ERR_CHECKPOINT', async () => (await trainer()).resume(at('none')));
    const model = await tinyModel();
    const homeless = new Trainer(model, { arguments: { maxSteps: 1 } });
    await failureOf('ERR_CONFIG', () => homeless.resume());
    const one = await trainer();
    for await (const event of one) {
      if (event.type === 'save') await failureOf('ERR_BUSY', () => one.resume());
      if (event.type === 'save') break;
    }
  });
});

/** Writes a manifest for files that a test has changed on purpose. */
async function remanifest(directory: string): Promise<void> {
  const files: Record<string, { bytes: number; sha256: string }> = {};
  for (const name of await readdir(directory)) {
    const bytes = await readFile(path.join(directory, name));
    files[name] = { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
  }
  await writeFile(path.join(directory, 'manifest.json'), manifestText(files, 1));
}

describe('a damaged checkpoint', () => {
  const flip = async (file: string): Promise<void> => {
    const bytes = await readFile(file);
    bytes[bytes.length - 3] = (bytes[bytes.length - 3] ?? 0) ^ 1;
    await writeFile(file, bytes);
  };
  const damages: [string, RegExp, (directory: string) => Promise<void>][] = [
    [
      'a flipped bit in the moments',
      /optimizer\.safetensors' is damaged: its SHA-256/,
      (directory) => flip(path.join(directory, 'optimizer.safetensors')),
    ],
    [
      'weights that were cut off',
      /model\.safetensors' is damaged: it has \d+ bytes instead of the \d+ that were written/,
      (directory) => truncate(path.join(directory, 'model.safetensors'), 100),
    ],
    [
      'a state that is missing',
      /trainer_state\.json' is damaged: .*ENOENT/,
      (directory) => rm(path.join(directory, 'trainer_state.json')),
    ],
    [
      'a manifest that is missing',
      /manifest\.json' can't be read/,
      (directory) => rm(path.join(directory, 'manifest.json')),
    ],
    [
      'a manifest that is torn',
      /manifest\.json' can't be read/,
      (directory) => truncate(path.join(directory, 'manifest.json'), 40),
    ],
  ];
  it.each(damages)('with %s is told and passed over', async (_, message, damage) => {
    const whole = await trainer();
    await eventsOf(whole);
    await damage(at('checkpoint-12'));
    const one = await trainer();
    const { path: found, damaged } = await one.resume();
    expect(found).toBe(at('checkpoint-10'));
    expect(damaged.map(({ message: said }) => said)).toEqual([expect.stringMatching(message)]);
    await eventsOf(one);
    expect(await bitsOf(one)).toEqual(await bitsOf(whole));
    // The damaged one was replaced.
    expect((await (await trainer()).resume()).step).toBe(12);
  });

  it('is refused if it is named, or if there is no other', async () => {
    await eventsOf(await trainer(), 5);
    await flip(at('checkpoint-5', 'optimizer.safetensors'));
    const one = await trainer();
    await failureOf('ERR_CHECKPOINT', () => one.resume(at('checkpoint-5')));
    const { message } = await failureOf('ERR_CHECKPOINT', () => one.resume());
    expect(message).toMatch(/every checkpoint of .* is damaged/);
  });

  it('does not come of a crash: what one leaves is tidied up', async () => {
    await eventsOf(await trainer(), 5);
    await cp(at('checkpoint-5'), at('checkpoint-9.tmp-0123456789ab'), { recursive: true });
    await mkdir(at('checkpoint-2.trash-0123456789ab'));
    // Moved aside for a new one of the same name, which was never completed.
    await rename(at('checkpoint-5'), at('checkpoint-5.old-0123456789ab'));
    expect((await (await trainer()).resume()).step).toBe(5);
    expect(await readdir(folder)).toEqual(['checkpoint-5']);
  });
});

describe('saveTotalLimit', () => {
  it('keeps the newest checkpoints and the best besides', async () => {
    const one = await trainer({ saveSteps: 2, evalSteps: 2, saveTotalLimit: 2 });
    const losses = new Map<number, number>();
    for await (const event of one) if (event.type === 'evaluate') losses.set(event.step, event.loss);
    const [best] = [...losses].sort(([, a], [, b]) => a - b)[0] ?? [];
    const kept = [...new Set([10, 12, best])].sort((a, b) => Number(a) - Number(b));
    expect((await readdir(folder)).sort(byStep)).toEqual(kept.map((step) => `checkpoint-${String(step)}`));
  });

  it('keeps a best one that is old', async () => {
    const one = await trainer({ saveTotalLimit: 1, saveSteps: 1, evalSteps: 1, learningRate: 5 });
    const losses = new Map<number, number>();
    for await (const event of one) if (event.type === 'evaluate') losses.set(event.step, event.loss);
    const [best] = [...losses].sort(([, a], [, b]) => a - b)[0] ?? [];
    expect(best).toBeLessThan(12); // the rate is far too high
    expect((await readdir(folder)).sort(byStep)).toEqual([`checkpoint-${String(best)}`, 'checkpoint-12']);
  });

  it('keeps the saveBestLimit best checkpoints and pinned ones', async () => {
    const args = { saveTotalLimit: 1, saveSteps: 1, evalSteps: 1, learningRate: 5, saveBestLimit: 3 };
    const losses = new Map<number, number>();
    for await (const event of await trainer(args)) {
      if (event.type === 'evaluate') losses.set(event.step, event.loss);
      // Neither good nor new, for most of the run.
      if (event.type === 'save' && event.step === 4) await writeFile(at('checkpoint-4', 'pinned'), '');
    }
    const best = [...losses].sort(([, a], [, b]) => a - b).slice(0, 3);
    const kept = [...new Set([...best.map(([step]) => step), 4, 12])].sort((a, b) => a - b);
    expect((await readdir(folder)).sort(byStep)).toEqual(kept.map((step) => `checkpoint-${step}`));
    // It can be resumed like any other, and is not overwritten.
    const again = await trainer(args);
    await again.resume(at('checkpoint-4'));
    const { message } = await failureOf('ERR_CHECKPOINT', () => again.save());
    expect(message).toMatch(/checkpoint-4' is not replaced, because it holds 'pinned'/);
  });

  it('keeps none for its loss where saveBestLimit is 0', async () => {
    const one = await trainer({
      saveTotalLimit: 2,
      saveSteps: 1,
      evalSteps: 1,
      learningRate: 5,
      saveBestLimit: 0,
    });
    await one.train();
    expect((await readdir(folder)).sort(byStep)).toEqual(['checkpoint-11', 'checkpoint-12']);
  });

  it('keeps all by default, and leaves other folders alone', async () => {
    await writeFile(at('notes.txt'), 'mine');
    await mkdir(at('checkpoint-1'));
    await eventsOf(await trainer({ saveSteps: 3, saveTotalLimit: 1, evalSteps: 0 }));
    expect((await readdir(folder)).sort(byStep)).toEqual(['checkpoint-1', 'checkpoint-12', 'notes.txt']);
  });
});

const byStep = (a: string, b: string): number => Number(/\d+/.exec(a) ?? 1e9) - Number(/\d+/.exec(b) ?? 1e9);
