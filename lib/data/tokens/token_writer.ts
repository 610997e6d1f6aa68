import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { TesseraeError } from '../../errors';
import { openFile } from '../../files/regular_file';
import { retried } from '../../files/retried';
import { HEADER_BYTES, llmcHeader, MOST_LLMC_TOKENS, type TokenDtype, type TokenFormat } from './format';

/** Writes a token file piece by piece. */
export class TokenWriter {
  private tokens = 0;

  private constructor(
    readonly path: string,
    private readonly handle: FileHandle,
    private readonly format: TokenFormat,
    private readonly dtype: TokenDtype,
  ) {}

  /** Makes a new file, which must not exist yet. */
  static async create(path: string, format: TokenFormat, dtype: TokenDtype): Promise<TokenWriter> {
    const handle = await retried(() => open(path, 'wx'));
    const writer = new TokenWriter(path, handle, format, dtype);
    if (format === 'llmc') await writer.write(new Uint8Array(HEADER_BYTES));
    return writer;
  }

  /** @throws TesseraeError `ERR_DATA` if there are more tokens than llm.c's header can count. */
  async append(ids: Uint16Array | Uint32Array): Promise<void> {
    this.tokens += ids.length;
    if (this.format === 'llmc' && this.tokens > MOST_LLMC_TOKENS)
      throw new TesseraeError(
        'ERR_DATA',
        `llm.c's layout holds at most ${MOST_LLMC_TOKENS} tokens per file, and these are more: prepare the inputs in several ` +
          "parts, or in nanoGPT's layout (--format nanogpt)",
      );
    await this.write(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength));
  }

  /** Waits until the file is on the disk; returns its description. */
  async finish(): Promise<{ readonly tokens: number; readonly sha256: string }> {
    if (this.format === 'llmc')
      await this.handle.write(llmcHeader(this.dtype, this.tokens), 0, HEADER_BYTES, 0);
    await this.handle.sync();
    await this.close();
    // llm.c's header, which is first, is known last: the file is read back for its hash.
    const hash = createHash('sha256');
    const file = await openFile(this.path);
    await pipeline(file.createReadStream({ highWaterMark: 2 ** 20 }), hash);
    return { tokens: this.tokens, sha256: hash.digest('hex') };
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  private async write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;)
      done += (await this.handle.write(bytes, done, bytes.length - done)).bytesWritten;
  }
}
