import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { EventFile } from '../../../lib/report/tensorboard';
import { Trainer } from '../../../lib/training/trainer';
import { failureOf } from '../support/errors';
import { withoutAppends } from '../support/full_disk';
import { countingDataset, disposeModels, tinyModel } from '../support/tiny_model';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tensorboard-'));
});
afterEach(async () => {
  disposeModels();
  await rm(folder, { recursive: true });
});

/** CRC-32C bit by bit, from its definition. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

/** The records of a TFRecord file, their checksums checked. */
function recordsOf(file: Buffer): Buffer[] {
  const unmask = (stored: number): number => {
    const rotated = (stored - 0xa282ead8) >>> 0;
    return ((rotated >>> 17) | (rotated << 15)) >>> 0;
  };
  const records: Buffer[] = [];
  for (let at = 0; at < file.length;) {
    const length = Number(file.readBigUInt64LE(at));
    expect(unmask(file.readUInt32LE(at + 8))).toBe(crc32c(file.subarray(at, at + 8)));
    const data = file.subarray(at + 12, at + 12 + length);
    expect(unmask(file.readUInt32LE(at + 12 + length))).toBe(crc32c(data));
    records.push(data);
    at += 16 + length;
  }
  return records;
}

type Fields = Record<number, (number | Buffer)[]>;

/** The fields of a message of Protocol Buffers by number. */
function fieldsOf(bytes: Buffer): Fields {
  const fields: Fields = {};
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes.readUInt8(at++);
      value += (byte % 128) * factor;
      if (byte < 128) return value;
    }
  };
  const take = (size: number): Buffer => bytes.subarray(at, (at += size));
  while (at < bytes.length) {
    const key = varint();
    const values = (fields[Math.floor(key / 8)] ??= []);
    if (key % 8 === 0) values.push(varint());
    else if (key % 8 === 1) values.push(take(8).readDoubleLE());
    else if (key % 8 === 2) values.push(take(varint()));
    else if (key % 8 === 5) values.push(take(4).readFloatLE());
    else throw new Error(`wire type ${key % 8}`);
  }
  return fields;
}

interface Decoded {
  step: number;
  version?: string;
  /** Of a session log. */
  status?: number;
  scalars?: Record<string, number>;
}

function decoded(record: Buffer): Decoded {
  const { 1: time, 2: step, 3: version, 5: summary, 7: session } = fieldsOf(record);
  expect(Math.abs(Number(time?.[0]) - Date.now() / 1000)).toBeLessThan(60);
  return {
    step: Number(step?.[0]),
    ...(version ? { version: String(version[0]) } : {}),
    ...(session ? { status: Number(fieldsOf(session[0] as Buffer)[1]?.[0]) } : {}),
    ...(summary
      ? {
          scalars: Object.fromEntries(
            (fieldsOf(summary[0] as Buffer)[1] ?? []).map((value) => {
              const { 1: tag, 2: simple } = fieldsOf(value as Buffer);
              return [String(tag?.[0]), Number(simple?.[0])];
            }),
          ),
        }
      : {}),
  };
}

const eventsOf = async (file: string): Promise<Decoded[]> => recordsOf(await readFile(file)).map(decoded);

describe('EventFile', () => {
  it('has the checksum of the standard', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  });

  it('holds a version, the begin of a session and scalars', async () => {
    const file = await EventFile.create(path.join(folder, 'new'), 5);
    file.write(5, { 'train/loss': 1.5, 'eval/loss': Infinity });
    file.write(2 ** 40 + 129, { ä: -0.25 });
    file.write(6, {});
    await file.close();
    expect(path.basename(file.path)).toMatch(/^events\.out\.tfevents\.\d{10}\./);
    expect(await eventsOf(file.path)).toEqual([
      { step: 0, version: 'brain.Event:2' },
      { step: 5, status: 1 },
      { step: 5, scalars: { 'train/loss': 1.5, 'eval/loss': Infinity } },
      { step: 2 ** 40 + 129, scalars: { ä: -0.25 } },
    ]);
  });
});

describe('reportTo tensorboard', () => {
  const trainer = async (): Promise<Trainer> =>
    new Trainer(await tinyModel(), {
      arguments: {
        ...{ maxSteps: 6, batchSize: 2, loggingSteps: 2, evalSteps: 4, saveSteps: 3 },
        ...{ outputDir: folder, reportTo: ['tensorboard'] },
      },
      train: countingDataset(),
      evaluation: countingDataset(),
    });
  const files = async (): Promise<string[]> =>
    (await readdir(folder)).filter((name) => name.startsWith('events.')).sort();

  it('writes what a run reports, and purges the steps that a resumed one repeats', async () => {
    const losses: number[] = [];
    for await (const event of await trainer())
      if (event.type === 'step' || event.type === 'evaluate') losses.push(event.loss);
    const [first] = await files();
    const events = await eventsOf(path.join(folder, first!));
    expect(
      events.slice(1).map(({ step, scalars }) => `${step} ${Object.keys(scalars ?? {}).join()}`),
    ).toEqual([
      '1 ',
      '2 train/loss,train/grad_norm,train/learning_rate,train/tokens_per_second',
      '4 train/loss,train/grad_norm,train/learning_rate,train/tokens_per_second',
      '4 eval/loss,eval/perplexity',
      '6 train/loss,train/grad_norm,train/learning_rate,train/tokens_per_second',
      '6 eval/loss,eval/perplexity',
    ]);
    const told = events.flatMap(({ scalars: { 'train/loss': train, 'eval/loss': evaluated } = {} }) => [
      ...(train === undefined ? [] : [train]),
      ...(evaluated === undefined ? [] : [evaluated]),
    ]);
    expect(told).toEqual(losses.map(Math.fround));
    const resumed = await trainer();
    await resumed.resume(path.join(folder, 'checkpoint-3'));
    await resumed.train();
    const [, second] = await files();
    expect(
      (await eventsOf(path.join(folder, second!))).slice(1).map(({ step, status }) => [step, status]),
    ).toEqual([
      [4, 1],
      [4, undefined],
      [4, undefined],
      [6, undefined],
      [6, undefined],
    ]);
    // Where nothing is left to do, nothing is written.
    await resumed.train();
    expect(await files()).toHaveLength(2);
  });

  it('fails no run that it can not be written for, and hides no error', async () => {
    const make = async (train = countingDataset()): Promise<Trainer> =>
      new Trainer(await tinyModel(), {
        arguments: {
          maxSteps: 2,
          batchSize: 2,
          loggingSteps: 1,
          reportTo: ['tensorboard'],
          outputDir: folder,
        },
        train,
      });
    const end = await withoutAppends();
    const told = jest.spyOn(process, 'emitWarning').mockReturnValue(undefined);
    try {
      const messages: string[] = [];
      const one = await make();
      for await (const event of one) if (event.type === 'warning') messages.push(event.message);
      expect(messages).toEqual([
        expect.stringMatching(/tfevents.*' can't be written \(ENOSPC/),
        expect.stringMatching(/tfevents.*' lacks 4 entries, .*: ENOSPC/),
      ]);
      expect(told).not.toHaveBeenCalled();
      const broken = await make({ ...countingDataset(), batch: () => Promise.reject(new Error('broken')) });
      await expect(broken.train()).rejects.toThrow('broken');
      expect(told.mock.calls.map(([message]) => message)).toContainEqual(
        expect.stringMatching(/lacks 2 entries/),
      );
    } finally {
      told.mockRestore();
      end();
    }
  });

  it('names its files in the order of the runs, though the clock was set back', async () => {
    const later = `events.out.tfevents.${Math.floor(Date.now() / 1000) + 3600}.host.1.0`;
    await writeFile(path.join(folder, later), '');
    const board = await EventFile.create(folder, 1);
    await board.close();
    expect((await readdir(folder)).sort()).toEqual([later, path.basename(board.path)]);
  });

  it('needs a folder, and no other name', async () => {
    const model = await tinyModel();
    const make = (reportTo: never[], outputDir?: string): Trainer =>
      new Trainer(model, { arguments: { maxSteps: 1, reportTo, ...(outputDir ? { outputDir } : {}) } });
    const { details } = await failureOf('ERR_CONFIG', () => make(['tensorboard'] as never[]));
    expect(details['path']).toBe('reportTo');
    await failureOf('ERR_CONFIG', () => make(['wandb'] as never[], folder));
  });
});
