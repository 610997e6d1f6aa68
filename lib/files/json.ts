/** Parses JSON from files. */

const BYTE_ORDER_MARK = '\uFEFF';

/** A JSON value whose objects are Maps, in the order of their keys. */
export type StrictJson = null | boolean | number | string | StrictJson[] | Map<string, StrictJson>;

/** An error with its place in a text: line and column count from 1, and a byte order mark takes no column. */
export class JsonError extends Error {
  readonly line: number;
  readonly column: number;

  constructor(
    readonly why: string,
    text: string,
    position: number,
  ) {
    const before = text.slice(0, position).replace(BYTE_ORDER_MARK, '').split('\n');
    const [line, column] = [before.length, (before.at(-1) ?? '').length + 1];
    super(`line ${line}, column ${column}: ${why}`);
    this.line = line;
    this.column = column;
  }
}

export interface JsonOptions {
  /**
   * Whether to round integers beyond 2^53 instead of refusing them, for files of other libraries that have such numbers in
   * fields we don't read. Default false.
   */
  readonly rounds?: boolean;
}

const MAX_DEPTH = 128;
const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /true|false|null/y;

/**
 * Parses JSON like JSON.parse, but refuses duplicate keys (JSON.parse keeps the last) and integers that it would round. A
 * leading byte order mark is ignored; `__proto__` is a key like any other.
 *
 * @throws JsonError for anything but one JSON value, or for nesting deeper than 128.
 */
export function parseJson(text: string, options: JsonOptions = {}): unknown {
  return parse(text, options, (entries) => Object.fromEntries(entries));
}

/** Like parseJson, with Maps for objects, for names that a program looks up. */
export function parseJsonMaps(text: string, options: JsonOptions = {}): StrictJson {
  return parse(text, options, (entries) => entries) as StrictJson;
}

function parse(
  text: string,
  options: JsonOptions,
  object: (entries: Map<string, unknown>) => unknown,
): unknown {
  const reader = new Reader(text, options.rounds ?? false, object);
  const value = reader.value(0, 'a value');
  reader.end();
  return value;
}

const AFTER_COMMA = "(no ',' after the last one)";

class Reader {
  private at: number;

  constructor(
    private readonly text: string,
    private readonly rounds: boolean,
    private readonly makeObject: (entries: Map<string, unknown>) => unknown,
  ) {
    this.at = text.startsWith(BYTE_ORDER_MARK) ? 1 : 0;
  }

  /** @param expected - its description in messages. */
  value(depth: number, expected: string): unknown {
    if (depth > MAX_DEPTH) throw this.error(`nesting deeper than ${MAX_DEPTH}`);
    this.take(SPACE);
    switch (this.text[this.at]) {
      case '{':
        return this.object(depth);
      case '[':
        return this.array(depth);
      case '"':
        return this.string(expected);
      default:
        return this.scalar(expected);
    }
  }

  end(): void {
    this.take(SPACE);
    if (this.at < this.text.length) throw this.expected('nothing more');
  }

  private object(depth: number): unknown {
    const entries = new Map<string, unknown>();
    const name = 'a name in double quotes';
    this.list('}', (isFirst) => {
      const start = this.at;
      const key = this.string(`${name} ${isFirst ? "or '}'" : AFTER_COMMA}`);
      if (entries.has(key))
        throw this.error(`the key ${JSON.stringify(key.slice(0, 200))} occurs twice`, start);
      this.take(SPACE);
      if (!this.skip(':')) throw this.expected("':'");
      entries.set(key, this.value(depth + 1, 'a value'));
    });
    return this.makeObject(entries);
  }

  private array(depth: number): unknown[] {
    const items: unknown[] = [];
    this.list(']', (isFirst) => {
      items.push(this.value(depth + 1, `a value ${isFirst ? "or ']'" : AFTER_COMMA}`));
    });
    return items;
  }

  private list(close: string, item: (isFirst: boolean) => void): void {
    this.at++;
    this.take(SPACE);
    if (this.skip(close)) return;
    for (let isFirst = true; ; isFirst = false) {
      this.take(SPACE);
      item(isFirst);
      this.take(SPACE);
      if (this.skip(close)) return;
      if (!this.skip(',')) throw this.expected(`',' or '${close}'`);
    }
  }

  private string(expected: string): string {
    const found = this.stringHere();
    if (!found) throw this.expected(expected);
    this.at = found.end;
    return found.value;
  }

  /** The quoted string that begins here; undefined if there is none or it is malformed. */
  private stringHere(): { readonly value: string; readonly end: number } | undefined {
    const quote = this.text[this.at] === '"' ? this.closingQuote() : undefined;
    if (quote === undefined) return undefined;
    const end = quote + 1;
    try {
      return { value: JSON.parse(this.text.slice(this.at, end)) as string, end };
    } catch {
      return undefined;
    }
  }

  /** The next quote that is not escaped: an even number of backslashes, or none, is before it. */
  private closingQuote(): number | undefined {
    for (let end = this.text.indexOf('"', this.at + 1); end >= 0; end = this.text.indexOf('"', end + 1)) {
      let start = end;
      while (this.text[start - 1] === '\\') start--;
      if ((end - start) % 2 === 0) return end;
    }
    return undefined;
  }

  private scalar(expected: string): null | boolean | number {
    const word = this.take(WORD);
    if (word) return word === 'null' ? null : word === 'true';
    const start = this.at;
    const number = this.take(NUMBER);
    if (!number) throw this.expected(expected);
    const value = Number(number);
    const isExact = Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value));
    if (!isExact && !this.rounds) throw this.error(`the number ${number.slice(0, 40)} is beyond 2^53`, start);
    return value;
  }

  private take(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const token = pattern.exec(this.text)?.[0] ?? '';
    this.at += token.length;
    return token;
  }

  private skip(character: string): boolean {
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private expected(what: string): JsonError {
    return this.error(`expected ${what}, found ${this.found()}`);
  }

  private error(why: string, at = this.at): JsonError {
    return new JsonError(why, this.text, at);
  }

  private found(): string {
    const { text, at } = this;
    if (at >= text.length) return 'the end of the file';
    if (/^\/[/*]/.test(text.slice(at, at + 2))) return 'a comment, which JSON does not have';
    if (text[at] === '"')
      return this.stringHere() ? 'text' : 'text that does not end, or has a character that needs a backslash';
    const word = /^[\w.+-]{1,20}/.exec(text.slice(at, at + 20))?.[0];
    return `'${word ?? String.fromCodePoint(text.codePointAt(at) ?? 0)}'`;
  }
}
