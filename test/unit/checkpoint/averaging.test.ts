import { cp, mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { averageCheckpoints } from '../../../lib/checkpoint/averaging';
import { loadModel, saveModel } from '../../../lib/checkpoint/checkpoint';
import { readSafetensors, writeSafetensors } from '../../../lib/checkpoint/safetensors';
import { main } from '../../../lib/cli/main';
import { ByteTokenizer } from '../../../lib/data/byte_tokenizer';
import { failureOf } from '../support/errors';
import { smallTrainer } from '../support/resuming';
import { disposeModels, tinyModel } from '../support/tiny_model';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-averaging-'));
});
afterEach(async () => {
  disposeModels();
  jest.restoreAllMocks();
  await rm(folder, { recursive: true });
});

const at = (...names: string[]): string => path.join(folder, ...names);
const weight = 'transformer.h.0.mlp.c_fc.weight';

async function valuesOf(directory: string, name = weight): Promise<Float32Array> {
  const file = await readSafetensors(path.join(directory, 'model.safetensors'));
  try {
    return await file.readFloat32(name);
  } finally {
    await file.close();
  }
}

/** Models of different seeds in folders a, b, c. */
async function three(): Promise<string[]> {
  const names = ['a', 'b', 'c'].map((name) => at(name));
  for (const [seed, name] of names.entries())
    await saveModel(await tinyModel({}, { seed }), name, { step: 10 * seed, tokenizer: new ByteTokenizer() });
  return names;
}

it('takes the mean of every tensor, rounded once', async () => {
  const names = await three();
  const result = await averageCheckpoints(names, at('mean'));
  expect(result).toEqual({ directory: at('mean'), checkpoints: names, damaged: [] });
  const all = await Promise.all(names.map((name) => valuesOf(name)));
  const mean = await valuesOf(at('mean'));
  mean.forEach((value, i) =>
    expect(value).toBe(Math.fround(all.reduce((sum, values) => sum + values[i]!, 0) / 3)),
  );
  expect(mean).not.toEqual(all[0]);
  const { model, step, tokenizer } = await loadModel(at('mean'), { device: 'cpu' });
  expect(await model.native.readTensor('parameter', weight, 'file')).toEqual(mean);
  expect({ step, tokenizer: tokenizer?.name }).toEqual({ step: 0, tokenizer: 'byte' });
  model.dispose();
});

it('averages the last complete checkpoints of a run', async () => {
  const trainer = await smallTrainer({ outputDir: at('run'), saveSteps: 3 });
  await trainer.train();
  await truncate(at('run', 'checkpoint-12', 'model.safetensors'), 100);
  const { checkpoints, damaged } = await averageCheckpoints(at('run'), at('mean'), { last: 2 });
  expect(checkpoints).toEqual([at('run', 'checkpoint-9'), at('run', 'checkpoint-6')]);
  expect(damaged).toHaveLength(1);
  const [a, b] = [await valuesOf(checkpoints[0]!), await valuesOf(checkpoints[1]!)];
  expect(await valuesOf(at('mean'))).toEqual(a.map((value, i) => (value + b[i]!) / 2));
  const failure = await failureOf('ERR_CHECKPOINT', () =>
    averageCheckpoints(at('run'), at('more'), { last: 4 }),
  );
  expect(failure.message).toMatch(/holds 3 complete checkpoints, fewer than the 4/);
  expect(await readdir(folder)).toEqual(['mean', 'run']);
});

it.each([
  ['without last', () => averageCheckpoints(at('a'), at('out')), /last must be an integer of at least 2/],
  ['of one', () => averageCheckpoints(at('a'), at('out'), { last: 1 }), /not 1/],
  ['of part of one', () => averageCheckpoints(at('a'), at('out'), { last: 2.5 }), /not 2.5/],
  ['of a list of one', () => averageCheckpoints([at('a')], at('out')), /at least two/],
  ['of one twice', () => averageCheckpoints([at('a'), at('a')], at('out')), /twice/],
  [
    'of a list by last',
    () => averageCheckpoints([at('a'), at('b')], at('out'), { last: 2 }),
    /folder of a run/,
  ],
])('refuses an average %s', async (_, call, message) => {
  await three();
  expect((await failureOf('ERR_CONFIG', call)).message).toMatch(message);
});

describe('refuses', () => {
  const refused = async (message: RegExp): Promise<void> => {
    const failure = await failureOf('ERR_CHECKPOINT', () =>
      averageCheckpoints([at('a'), at('b')], at('out')),
    );
    expect(failure.message).toMatch(message);
    expect(await readdir(folder)).not.toContain('out');
  };

  it('models of other shapes', async () => {
    await saveModel(await tinyModel(), at('a'));
    await saveModel(await tinyModel({ nEmbd: 32 }), at('b'));
    await refused(/its model differs .* in .*nEmbd/);
  });

  it('weights that config.json does not describe', async () => {
    await three();
    const name = at('b', 'model.safetensors');
    await rm(name);
    const values = new Float32Array(16 * 64);
    await writeSafetensors(name, [{ name: weight, shape: [16, 64], read: async () => values }]);
    await refused(/only one of it and '.*' has '/);
    await cp(name, at('a', 'model.safetensors'));
    await rm(name);
    await writeSafetensors(name, [{ name: weight, shape: [64, 16], read: async () => values }]);
    await refused(/is \[64, 16\] there, and \[16, 64\]/);
  });

  it('damaged and missing checkpoints', async () => {
    await three();
    await writeFile(at('b', 'model.safetensors'), 'no');
    await refused(/not a valid safetensors file/);
    await rm(at('b'), { recursive: true });
    await refused(/holds no checkpoint/);
  });

  it('to write into a folder of something else', async () => {
    await three();
    await writeFile(at('c', 'thesis.txt'), 'all of it');
    const failure = await failureOf('ERR_CHECKPOINT', () => averageCheckpoints([at('a'), at('b')], at('c')));
    expect(failure.message).toMatch(/thesis.txt/);
  });
});

describe('tesserae average', () => {
  const run = async (...args: string[]): Promise<[number, string, string]> => {
    const [out, err] = [process.stdout, process.stderr].map((stream) =>
      jest.spyOn(stream, 'write').mockImplementation(() => true),
    );
    const code = await main(['average', ...args]);
    const text = (spy: typeof out): string => spy!.mock.calls.map(([chunk]) => String(chunk)).join('');
    return [code, text(out), text(err)];
  };

  it('says as JSON what it averaged', async () => {
    await three();
    const [code, out] = await run(at('a'), at('b'), at('mean'), '--json');
    expect(code).toBe(0);
    const checkpoints = [at('a'), at('b')];
    expect(JSON.parse(out ?? '')).toEqual({ type: 'average', folder: at('mean'), checkpoints });
  });

  it('averages checkpoints', async () => {
    await three();
    const [code, out] = await run(at('a'), at('b'), at('mean'));
    expect(code).toBe(0);
    expect(out).toContain('mean');
    expect(await valuesOf(at('mean'))).toHaveLength(16 * 64);
  });

  it('says what is missing', async () => {
    await three();
    expect((await run(at('a')))[0]).toBe(2);
    const [code, , err] = await run(at('a'), at('mean'));
    expect([code, err]).toEqual([2, expect.stringContaining('for a run, say how many checkpoints')]);
  });
});
