/** Encodes texts of any length: cuts long ones, and passes bounded batches to the library. */
import { messageOf, TesseraeError } from '../../errors';
import { findCut, startsWith, type Cut } from './cuts';
import { encodeInTurn, libraryTokenizer, type Encoding, type LibraryTokenizer } from './library';

/** Most characters in a batch. A batch of a megabyte takes the library a third of a second on two threads. */
const BATCH = 2 ** 20;
/** Most texts in a batch. */
const MOST_TEXTS = 2 ** 12;

/** Characters of the parts that a long text is cut into, and of one that can't be cut. */
interface Sizes {
  readonly part: number;
  readonly most: number;
}
const LINEAR: Sizes = { part: 2 ** 16, most: 2 ** 21 };
/** A pattern may take time proportional to the square of the length. */
const SQUARE: Sizes = { part: 2 ** 15, most: 2 ** 16 };

/** A text to encode. */
export interface EncodedText {
  readonly text: string;
  /** Where it was cut off a longer text, if it was. */
  readonly after?: Cut | undefined;
}

interface Part extends EncodedText {
  /** Index of the text that it is a part of, and where it begins in it. */
  readonly index: number;
  readonly start: number;
}

/** A character has no token. */
export class NoTokenError extends TesseraeError {
  /** @param why - what it is, and why it has none. */
  constructor(
    readonly why: string,
    place: {
      readonly index: number;
      readonly offset: number;
      readonly line: number;
      readonly column: number;
    },
  ) {
    super('ERR_DATA', `the text, line ${place.line}, column ${place.column}, ${why}`, { details: place });
  }
}

/** The data of an encoder, plain so that a worker thread can make one without reading the tokenizer.json again. */
export interface EncoderSource {
  /** The text for the library. */
  readonly libraryJson: string;
  readonly vocabSize: number;
  /** The library's id for text without a token; undefined if the file has an unknown token. */
  readonly noTokenId: number | undefined;
  /** Ids that differ in the library → ours. */
  readonly shifted: ReadonlyMap<number, number>;
  /** Characters of the longest added token. */
  readonly longest: number;
  /** Whether splitting a text takes a time that is at most proportional to its length. */
  readonly isLinear: boolean;
}

export class Encoder {
  private readonly sizes: Sizes;

  constructor(
    readonly source: EncoderSource,
    private readonly library: LibraryTokenizer = libraryTokenizer(source.libraryJson),
  ) {
    this.sizes = source.isLinear ? LINEAR : SQUARE;
  }

  /** Most characters between two cuts. */
  get most(): number {
    return this.sizes.most;
  }

  /** Where the text can be cut, in [from, to). */
  cut(text: string, from: number, to: number): Promise<Cut | undefined> {
    const encode = async (texts: readonly string[]): Promise<number[][]> =>
      (await this.encodings(texts)).map((encoding) => encoding.getIds());
    return findCut(text, from, to, encode, this.source.longest);
  }

  /**
   * The token ids of texts.
   *
   * @throws TesseraeError `ERR_DATA` for a character without a token: `details` has the index of its text, and in it its
   * `offset` (UTF-16), `line` and `column`, from 1; and for a text that is too long and can't be cut.
   */
  async encode(texts: readonly EncodedText[]): Promise<Int32Array[]> {
    const parts: Part[] = [];
    for (const [index, one] of texts.entries())
      for (const part of await this.partsOf(one, index)) parts.push(part);
    const ids = texts.map((): Int32Array[] => []);
    for (let first = 0; first < parts.length;) {
      let [last, size] = [first, 0];
      while (last < parts.length && last - first < MOST_TEXTS && (last === first || size < BATCH))
        size += parts[last++]?.text.length ?? 0;
      const batch = parts.slice(first, last);
      const encodings = await this.encodings(batch.map(({ text, after }) => (after?.context ?? '') + text));
      for (const [i, part] of batch.entries()) {
        const encoding = encodings[i];
        if (encoding) ids[part.index]?.push(this.idsOf(part, encoding, texts));
      }
      first = last;
    }
    return ids.map(joined);
  }

  private async partsOf({ text, after }: EncodedText, index: number): Promise<Part[]> {
    const { part: size, most } = this.sizes;
    const parts: Part[] = [];
    let [start, cut] = [0, after];
    for (let from = size; from < text.length && start < text.length;) {
      const found = await this.cut(text, from, Math.min(from + size, text.length));
      from += size;
      if (found) {
        parts.push({ text: text.slice(start, found.at), after: cut, index, start });
        [start, cut] = [found.at, found];
        from = start + size;
      } else if (from - start > most) break;
    }
    if (text.length - start > most + size)
      throw new TesseraeError(
        'ERR_DATA',
        `the ${most} characters from offset ${start} have no place where the text can be cut without changing its tokens, and more ` +
          "can't be encoded at once: add line ends or spaces",
        { details: { index, offset: start } },
      );
    if (text.length > start) parts.push({ text: text.slice(start), after: cut, index, start });
    return parts;
  }

  private async encodings(texts: readonly string[]): Promise<Encoding[]> {
    try {
      return await encodeInTurn(this.library, texts);
    } catch (cause) {
      throw new TesseraeError('ERR_DATA', `the tokenizer failed on a text: ${messageOf(cause)}`, { cause });
    }
  }

  private idsOf(part: Part, encoding: Encoding, texts: readonly EncodedText[]): Int32Array {
    const ids = encoding.getIds();
    const { contextIds = [] } = part.after ?? {};
    if (!startsWith(ids, contextIds))
      throw new TesseraeError(
        'ERR_INTERNAL',
        'a long text got different tokens at a cut than in the test of that cut',
      );
    const { noTokenId, shifted } = this.source;
    const own = new Int32Array(ids.length - contextIds.length);
    for (let i = 0; i < own.length; i++) {
      const id = ids[i + contextIds.length] ?? -1;
      if (id === noTokenId) throw this.noToken(part, encoding, i + contextIds.length, texts);
      own[i] = id;
    }
    if (shifted.size > 0)
      for (let i = 0; i < own.length; i++) own[i] = shifted.get(own[i] ?? -1) ?? own[i] ?? -1;
    return own;
  }

  private noToken(
    part: Part,
    encoding: Encoding,
    token: number,
    texts: readonly EncodedText[],
  ): NoTokenError {
    const [from = 0, to = from] = encoding.getOffsets()[token] ?? [];
    const own = part.after?.context ?? '';
    const whole = Array.from(own + part.text);
    const unknown = whole.slice(from, Math.max(to, from + 1)).join('');
    const offset = part.start + whole.slice(0, from).join('').length - own.length;
    const before = (texts[part.index]?.text ?? '').slice(0, offset);
    const line = before.split('\n').length;
    const column = Array.from(before.slice(before.lastIndexOf('\n') + 1)).length + 1;
    return new NoTokenError(
      `has ${JSON.stringify(unknown.slice(0, 40))}, but the vocabulary of ${this.source.vocabSize} tokens has no token for it ` +
        'and no unknown token: use a tokenizer that was trained on such text, or a byte-level one',
      { index: part.index, offset, line, column },
    );
  }
}

function joined(parts: readonly Int32Array[]): Int32Array {
  const [only] = parts;
  if (parts.length === 1 && only) return only;
  const whole = new Int32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
