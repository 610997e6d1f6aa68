/** Joins token files into streams and draws rows from them. Runs in a worker thread. */
import { TesseraeError } from '../../errors';
import type { Progress } from '../../threads/progress';
import type { PackedBatch } from '../../models/packed_batch';
import type { BatchSource, EvaluationRequest } from '../batch_source';
import type { BatchRequest } from '../dataset';
import { cropBatch, cropOffsets, splitSizes, windowOffsets, type SplitName, type TextSizes } from '../rows';
import type { TokenizerIdentity } from '../tokenizers';
import { TokenFile, type TokenFileOptions } from './token_file';

export interface TokenOptions extends TokenFileOptions {
  readonly train: readonly string[];
  /** Separate validation files; without them, validationFraction of `train` is taken from its end. */
  readonly validation?: readonly string[] | undefined;
  readonly validationFraction: number;
  readonly blockSize: number;
  /** The tokenizer of files without a JSON file. */
  readonly tokenizer?: TokenizerIdentity | undefined;
}

/** The properties of opened token files. */
export interface OpenedTokens {
  readonly sizes: TextSizes;
  readonly vocabSize: number;
  readonly tokenizer?: TokenizerIdentity | undefined;
}

/** The joined tokens of several files. */
class TokenStream {
  readonly length: number;

  constructor(private readonly files: readonly TokenFile[]) {
    this.length = files.reduce((sum, { tokens }) => sum + tokens, 0);
  }

  /** Reads `count` tokens from token `at` on, across the ends of files. */
  read(at: number, into: Int32Array): void {
    let [from, done] = [at, 0];
    for (const file of this.files) {
      if (done === into.length) return;
      if (from >= file.tokens) {
        from -= file.tokens;
        continue;
      }
      const count = Math.min(into.length - done, file.tokens - from);
      file.read(from, count, into, done);
      done += count;
      from = 0;
    }
  }
}

interface Part {
  readonly stream: TokenStream;
  /** Index in the stream of the part's first token. */
  readonly start: number;
  readonly length: number;
}

export class TokenSource implements BatchSource {
  private constructor(
    private readonly parts: Readonly<Record<SplitName, Part>>,
    private readonly blockSize: number,
    readonly opened: OpenedTokens,
  ) {}

  /** @throws TesseraeError as TokenFile.open does, and `ERR_DATA` for files that do not go together or are too short. */
  static async open(options: TokenOptions, progress: Progress): Promise<TokenSource> {
    const { blockSize, validationFraction } = options;
    const files: TokenFile[] = [];
    const stream = async (paths: readonly string[]): Promise<TokenStream> => {
      const own: TokenFile[] = [];
      for (const path of paths) {
        const file = await TokenFile.open(path, options, progress);
        own.push(file);
        files.push(file);
      }
      return new TokenStream(own);
    };
    const whole = await stream(options.train);
    const kept = options.validation && (await stream(options.validation));
    const told = (paths: readonly string[]): string =>
      paths.length === 1
        ? `the token file '${paths[0]}' has`
        : `${paths.length} token files from '${paths[0]}' on have`;
    const sizes = splitSizes(whole.length, blockSize, kept ? 0 : validationFraction, told(options.train));
    if (kept && options.validation) splitSizes(kept.length, blockSize, 0, told(options.validation));
    const parts = {
      train: { stream: whole, start: 0, length: sizes.train },
      validation: kept
        ? { stream: kept, start: 0, length: kept.length }
        : { stream: whole, start: sizes.train, length: sizes.validation },
    };
    return new TokenSource(parts, blockSize, {
      sizes: { train: sizes.train, validation: parts.validation.length },
      ...commonVocabulary(files, options.tokenizer),
    });
  }

  /** Random crops. */
  batch(split: SplitName, request: BatchRequest): PackedBatch {
    return this.cut(split, cropOffsets(request, this.parts[split].length, this.blockSize), request.rows);
  }

  /** Windows for evaluation. */
  evaluationBatch(split: SplitName, request: EvaluationRequest): PackedBatch | undefined {
    const offsets = windowOffsets(request, this.parts[split].length, this.blockSize);
    return offsets && this.cut(split, offsets, request.rows);
  }

  private cut(split: SplitName, offsets: readonly number[], rows: number): PackedBatch {
    const { stream, start } = this.parts[split];
    return cropBatch(offsets, { rows, blockSize: this.blockSize }, (offset, into) =>
      stream.read(start + offset, into),
    );
  }
}

/** Ids must mean the same in all files. */
function commonVocabulary(
  files: readonly TokenFile[],
  given: TokenizerIdentity | undefined,
): Pick<OpenedTokens, 'vocabSize' | 'tokenizer'> {
  const tokenizerOf = ({ description }: TokenFile): TokenizerIdentity | undefined =>
    description ? description.tokenizer : given;
  const [first, ...others] = files;
  if (!first) throw new TesseraeError('ERR_INTERNAL', 'no token files were given');
  const { vocabSize } = first;
  const tokenizer = tokenizerOf(first);
  for (const other of others) {
    const theirs = tokenizerOf(other);
    if (
      other.vocabSize === vocabSize &&
      theirs?.name === tokenizer?.name &&
      theirs?.sha256 === tokenizer?.sha256
    )
      continue;
    throw new TesseraeError(
      'ERR_DATA',
      `the token files '${first.path}' and '${other.path}' were made with different tokenizers: give files of one tokenizer`,
      { details: { path: other.path } },
    );
  }
  return { vocabSize, tokenizer };
}
