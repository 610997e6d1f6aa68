import { open, readdir, type FileHandle } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { AppendedFile } from './appended_file';
import { makeFolder } from './make_folder';

/** The scalars of a trainer's event, by TensorBoard tag; the tags are those of Hugging Face's Trainer. */
export function scalarsOf(event: {
  readonly type: string;
  readonly [name: string]: unknown;
}): Record<string, number> {
  const tags = TAGS[event.type] ?? {};
  return Object.fromEntries(
    Object.entries(tags).flatMap(([name, tag]) => {
      const value = event[name];
      return typeof value === 'number' ? [[tag, value]] : [];
    }),
  );
}

const TAGS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  step: {
    loss: 'train/loss',
    gradNorm: 'train/grad_norm',
    learningRate: 'train/learning_rate',
    lossScale: 'train/loss_scale',
    tokensPerSecond: 'train/tokens_per_second',
  },
  evaluate: { loss: 'eval/loss', perplexity: 'eval/perplexity' },
};

let created = 0;

/**
 * A TensorBoard event file: scalars by tag and step, each in the file as soon as it is written. Failed writes are retried, as
 * AppendedFile does.
 *
 * @example
 * const board = await EventFile.create('runs/book', 1);
 * board.write(10, { 'train/loss': 5.5 });
 * await board.close();
 */
export class EventFile {
  private constructor(
    readonly path: string,
    private readonly file: AppendedFile,
  ) {}

  /**
   * Starts a file in a folder, which is created if it is missing.
   *
   * @param step - the first that will be written. TensorBoard then ignores this and later steps in earlier files of the folder,
   * so a resumed run has no step twice. TensorBoard reads files in order of their names, so the new name sorts after the others,
   * whatever the clock says.
   * @param onTrouble - as AppendedFile's.
   */
  static async create(
    directory: string,
    step: number,
    onTrouble?: (message: string) => void,
  ): Promise<EventFile> {
    const there = (await readdir(directory).catch(() => [])).map((name) =>
      Number(/^events\.out\.tfevents\.(\d{1,10})\./.exec(name)?.[1] ?? -1),
    );
    const seconds = there.reduce((most, one) => Math.max(most, one + 1), Math.floor(Date.now() / 1000));
    const name = path.join(
      directory,
      `events.out.tfevents.${String(seconds).padStart(10, '0')}.${hostname()}.${process.pid}.${created++}`,
    );
    const openFile = async (): Promise<FileHandle> => {
      await makeFolder(directory);
      return open(name, 'a');
    };
    const events = new EventFile(name, new AppendedFile({ path: name, open: openFile, onTrouble }));
    events.file.append(record(eventBytes(0, text(FILE_VERSION, 'brain.Event:2'))));
    events.file.append(record(eventBytes(step, message(SESSION_LOG, integer(STATUS, SESSION_START)))));
    return events;
  }

  /** Appends scalars of a step; returns at once. */
  write(step: number, scalars: Readonly<Record<string, number>>): void {
    const values = Object.entries(scalars).map(([tag, value]) =>
      message(VALUE, Buffer.concat([text(TAG, tag), float(SIMPLE_VALUE, value)])),
    );
    if (values.length > 0)
      this.file.append(record(eventBytes(step, message(SUMMARY, Buffer.concat(values)))));
  }

  /** Waits until everything is written, and closes the file. @throws TesseraeError as AppendedFile does. */
  async close(): Promise<void> {
    await this.file.close();
  }
}

// Fields of TensorFlow's event.proto and summary.proto.
const WALL_TIME = 1;
const STEP = 2;
const FILE_VERSION = 3;
const SUMMARY = 5;
const SESSION_LOG = 7;
const VALUE = 1; // of Summary
const TAG = 1; // of Summary.Value
const SIMPLE_VALUE = 2;
const STATUS = 1; // of SessionLog
const SESSION_START = 1;

function eventBytes(step: number, what: Buffer): Buffer {
  return Buffer.concat([double(WALL_TIME, Date.now() / 1000), integer(STEP, step), what]);
}

// Wire types of Protocol Buffers.
const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/** An unsigned integer below 2^53, seven bits a byte, the lowest first. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}

const key = (field: number, wireType: number): Buffer => varint(field * 8 + wireType);

const integer = (field: number, value: number): Buffer => Buffer.concat([key(field, VARINT), varint(value)]);

const message = (field: number, bytes: Buffer): Buffer =>
  Buffer.concat([key(field, LENGTH_DELIMITED), varint(bytes.length), bytes]);

const text = (field: number, value: string): Buffer => message(field, Buffer.from(value, 'utf8'));

function double(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return Buffer.concat([key(field, FIXED64), bytes]);
}

function float(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return Buffer.concat([key(field, FIXED32), bytes]);
}

/** A record of a TFRecord file: its length and its bytes, each with a checksum. */
function record(data: Buffer): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(data.length));
  return Buffer.concat([length, checksum(length), data, checksum(data)]);
}

/** CRC-32C, masked as TFRecord does: a CRC of bytes that hold CRCs would be weak. */
function checksum(bytes: Buffer): Buffer {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (CRC_TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  crc = ~crc >>> 0;
  const masked = (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  const stored = Buffer.alloc(4);
  stored.writeUInt32LE(masked);
  return stored;
}

/** Of Castagnoli's polynomial 0x1EDC6F41, its bits reversed. */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});
