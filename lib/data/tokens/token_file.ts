/**
 * A token file, read at 64-bit offsets and never loaded: the page cache keeps what is used often. It is not mapped into
 * memory, because a file that is truncated while it is mapped kills the process. Runs in a worker thread, where reads may
 * wait.
 */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, readSync } from 'node:fs';
import { TesseraeError } from '../../errors';
import { recogniseUnmeant, RECOGNISED_BYTES } from '../../files/recognise';
import { recogniseFileSync } from '../../files/recognise_file';
import { openFileSync, unopened } from '../../files/regular_file';
import type { Progress } from '../../threads/progress';
import {
  BYTES_OF_DTYPE,
  HEADER_BYTES,
  readDescription,
  readLlmcHeader,
  type TokenDescription,
  type TokenDtype,
  type TokenFormat,
} from './format';

/** What the caller knows about files without a JSON file. */
export interface TokenFileOptions {
  readonly dtype?: TokenDtype | undefined;
  readonly vocabSize?: number | undefined;
  /** Read the whole file and compare its SHA-256 with the description's. */
  readonly verify: boolean;
}

/** Bytes per read of a whole file. */
const SCAN_BYTES = 2 ** 22;

interface Layout {
  readonly format: TokenFormat;
  readonly dtype: TokenDtype;
  readonly tokens: number;
}

export class TokenFile {
  /** Bytes before the first token. */
  private readonly start: number;
  private readonly width: number;
  private scratch = new ArrayBuffer(0);

  private constructor(
    readonly path: string,
    private readonly descriptor: number,
    private readonly layout: Layout,
    /** All ids are below it. */
    readonly vocabSize: number,
    readonly description: TokenDescription | undefined,
  ) {
    this.start = layout.format === 'llmc' ? HEADER_BYTES : 0;
    this.width = BYTES_OF_DTYPE[layout.dtype];
  }

  /**
   * Opens a file and checks everything that can be checked before the first row: magic, version, size against counts. If the
   * file has no description, or with `verify`, the whole file is read once.
   *
   * @throws TesseraeError `ERR_DATA`, which names the file and, if there is one, the offset; `ERR_CONFIG` for a file without
   * description and without a given vocabulary size.
   */
  static async open(path: string, options: TokenFileOptions, progress: Progress): Promise<TokenFile> {
    const description = await readDescription(path);
    const descriptor = opened(path);
    try {
      const layout = layoutOf(path, descriptor, options, description);
      const vocabSize = vocabularyOf(path, options, description);
      const file = new TokenFile(path, descriptor, layout, vocabSize, description);
      if (!description || options.verify) file.scan(progress);
      return file;
    } catch (error) {
      closeSync(descriptor);
      throw withKind(path, error);
    }
  }

  get tokens(): number {
    return this.layout.tokens;
  }

  /** Bytes to read when the whole file is checked. */
  get bytes(): number {
    return this.start + this.tokens * this.width;
  }

  /**
   * Reads `count` tokens from token `at` on.
   *
   * @param into - gets them, from index `first` on.
   * @throws TesseraeError `ERR_DATA` for an id that is not in the vocabulary, or if the file was truncated after it was opened.
   */
  read(at: number, count: number, into: Int32Array, first: number): void {
    const bytes = count * this.width;
    if (this.scratch.byteLength < bytes) this.scratch = new ArrayBuffer(bytes);
    const offset = this.start + at * this.width;
    this.fill(new Uint8Array(this.scratch, 0, bytes), offset);
    const ids =
      this.width === 2 ? new Uint16Array(this.scratch, 0, count) : new Uint32Array(this.scratch, 0, count);
    this.checkIds(ids, offset);
    into.set(ids, first);
  }

  close(): void {
    closeSync(this.descriptor);
  }

  /** Reads the whole file once to check the ids, and the hash if there is a description. */
  private scan(progress: Progress): void {
    const total = this.bytes;
    const hash = createHash('sha256');
    const buffer = new ArrayBuffer(SCAN_BYTES);
    for (let done = 0; done < total;) {
      // The header is read alone, so that ids stay aligned.
      const size = Math.min(done < this.start ? this.start : SCAN_BYTES, total - done);
      const bytes = new Uint8Array(buffer, 0, size);
      this.fill(bytes, done);
      if (this.description) hash.update(bytes);
      if (done >= this.start)
        this.checkIds(
          this.width === 2 ? new Uint16Array(buffer, 0, size / 2) : new Uint32Array(buffer, 0, size / 4),
          done,
        );
      done += size;
      progress(done, total);
    }
    if (this.description && hash.digest('hex') !== this.description.sha256)
      refuse(
        this.path,
        'is damaged: its SHA-256 differs from the one in its JSON file. Make it again with tesserae prepare',
      );
  }

  /** @param offset - of the first id, in bytes. */
  private checkIds(ids: Uint16Array | Uint32Array, offset: number): void {
    const { vocabSize } = this;
    const { length } = ids;
    let index = 0;
    while (index < length && (ids[index] as number) < vocabSize) index++;
    if (index === length) return;
    const [at, id] = [offset + index * this.width, ids[index]];
    refuse(
      this.path,
      `has the id ${id} at offset ${at}, but its vocabulary has ${vocabSize} tokens: make the file again, or give the ` +
        `dtype and vocabSize it was made with (it is read as ${this.layout.dtype})`,
      { offset: at, id, vocabSize },
    );
  }

  private fill(bytes: Uint8Array, offset: number): void {
    for (let done = 0; done < bytes.length;) {
      let read: number;
      try {
        read = readSync(this.descriptor, bytes, done, bytes.length - done, offset + done);
      } catch (cause) {
        refuse(this.path, `can't be read at offset ${offset + done}: ${(cause as Error).message}`, {
          offset,
        });
      }
      if (read === 0)
        refuse(
          this.path,
          `was truncated while it was open: it had ${this.bytes} bytes, but ends at or before offset ${offset + done}. ` +
            'Make it again and start again',
          { offset: offset + done },
        );
      done += read;
    }
  }
}

function opened(path: string): number {
  try {
    return openFileSync(path);
  } catch (cause) {
    const inFolder = 'the files in it, or the folder that tesserae prepare made';
    throw unopened(`the token file '${path}'`, path, cause, inFolder);
  }
}

function layoutOf(
  path: string,
  descriptor: number,
  { dtype: given }: TokenFileOptions,
  description: TokenDescription | undefined,
): Layout {
  const stat = fstatSync(descriptor);
  const buffer = Buffer.alloc(RECOGNISED_BYTES);
  const start = buffer.subarray(0, readSync(descriptor, buffer, 0, buffer.length, 0));
  const other = recogniseUnmeant(start, 'tokens');
  if (other !== undefined) refuse(path, `is ${other}`);
  const header = readLlmcHeader(start, (why) => refuse(path, why));
  const dtype = description?.dtype ?? header?.dtype ?? given ?? 'uint16';
  const width = BYTES_OF_DTYPE[dtype];
  if (given !== undefined && given !== dtype)
    refuse(path, `has tokens of ${dtype}, not ${given} as dtype says: leave dtype out`);
  if (description && (description.format === 'llmc') !== (header !== undefined))
    refuse(path, `is not in the ${description.format} layout that its JSON file names: make both again`);
  if (header && header.dtype !== dtype)
    refuse(path, `has ${header.dtype} tokens by its header, but ${dtype} by its JSON file: make both again`);
  const bytes = stat.size - (header ? HEADER_BYTES : 0);
  const counts = [header?.tokens, description?.tokens].filter((count) => count !== undefined);
  for (const count of counts)
    if (bytes !== count * width)
      refuse(
        path,
        `has ${stat.size} bytes, not the ${(header ? HEADER_BYTES : 0) + count * width} of its ${count} tokens of ${dtype}: ` +
          'it was cut off or changed. Make it again',
        { bytes: stat.size, tokens: count },
      );
  if (bytes % width !== 0)
    refuse(
      path,
      `has ${stat.size} bytes, which is not a whole number of ${dtype} tokens: it was cut off, or is not a token file`,
    );
  if (bytes === 0) refuse(path, 'has no tokens');
  return { format: header ? 'llmc' : 'nanogpt', dtype, tokens: bytes / width };
}

function vocabularyOf(
  path: string,
  { vocabSize }: TokenFileOptions,
  description: TokenDescription | undefined,
): number {
  const known = description?.vocabSize ?? vocabSize;
  if (known === undefined)
    throw new TesseraeError(
      'ERR_CONFIG',
      `no JSON file describes the token file '${path}': give vocabSize, such as 50257 for GPT-2's tokens, or its tokenizer`,
      { details: { path: 'vocabSize', file: path } },
    );
  if (vocabSize !== undefined && vocabSize !== known)
    throw new TesseraeError(
      'ERR_CONFIG',
      `vocabSize ${vocabSize} is not the ${known} of the token file '${path}': leave vocabSize out`,
      { details: { path: 'vocabSize', file: path } },
    );
  return known;
}

/** Adds a guess of the file's type to an error; only a guess, because token ids may look like anything. */
function withKind(path: string, error: unknown): unknown {
  if (!(error instanceof TesseraeError) || error.code !== 'ERR_DATA') return error;
  const what = recogniseFileSync(path, 'tokens');
  if (what === undefined || error.message.includes(what)) return error;
  return new TesseraeError(error.code, `${error.message}. It looks like ${what}`, {
    details: { ...error.details },
    cause: error.cause,
  });
}

function refuse(path: string, why: string, details: Record<string, unknown> = {}): never {
  throw new TesseraeError('ERR_DATA', `the token file '${path}' ${why}`, { details: { path, ...details } });
}
