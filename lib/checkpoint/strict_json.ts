/**
 * JSON whose objects are Maps, for the headers of files that anyone may have written. JSON.parse keeps the last of two
 * equal keys, gives `__proto__` a meaning and rounds integers beyond 2^53; here the first and the last are errors.
 */
export type StrictJson = null | boolean | number | string | StrictJson[] | Map<string, StrictJson>;

/** What is wrong, and where, in characters. */
export class JsonError extends Error {
  constructor(
    readonly why: string,
    readonly position: number,
  ) {
    super(`${why} at character ${position}`);
  }
}

const MAX_DEPTH = 32;
const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /true|false|null/y;

/** @throws JsonError for anything but one JSON value, for a key used twice, an inexact integer, or deep nesting. */
export function parseStrictJson(text: string): StrictJson {
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.end();
  return value;
}

class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  value(depth: number): StrictJson {
    if (depth > MAX_DEPTH) throw this.error(`nesting deeper than ${MAX_DEPTH}`);
    this.take(SPACE);
    switch (this.text[this.at]) {
      case '{':
        return this.object(depth);
      case '[':
        return this.array(depth);
      case '"':
        return this.string();
      default:
        return this.scalar();
    }
  }

  end(): void {
    this.take(SPACE);
    if (this.at < this.text.length) throw this.error('something after the end');
  }

  private object(depth: number): Map<string, StrictJson> {
    const map = new Map<string, StrictJson>();
    this.list('}', () => {
      const start = this.at;
      const key = this.string();
      if (map.has(key))
        throw new JsonError(`the key ${JSON.stringify(key.slice(0, 200))} is there twice`, start);
      this.take(SPACE);
      if (!this.skip(':')) throw this.error("':' is missing");
      map.set(key, this.value(depth + 1));
    });
    return map;
  }

  private array(depth: number): StrictJson[] {
    const items: StrictJson[] = [];
    this.list(']', () => void items.push(this.value(depth + 1)));
    return items;
  }

  private list(close: string, item: () => void): void {
    this.at++;
    this.take(SPACE);
    if (this.skip(close)) return;
    for (;;) {
      this.take(SPACE);
      item();
      this.take(SPACE);
      if (this.skip(close)) return;
      if (!this.skip(',')) throw this.error(`',' or '${close}' is missing`);
    }
  }

  private string(): string {
    if (this.text[this.at] !== '"') throw this.error('a string is missing');
    const end = this.closingQuote();
    const token = this.text.slice(this.at, end + 1);
    try {
      const value = JSON.parse(token) as string;
      this.at = end + 1;
      return value;
    } catch {
      throw this.error('a string is malformed');
    }
  }

  /** The next quote that an even number of backslashes, or none, stands before. */
  private closingQuote(): number {
    for (let end = this.text.indexOf('"', this.at + 1); end >= 0; end = this.text.indexOf('"', end + 1)) {
      let start = end;
      while (this.text[start - 1] === '\\') start--;
      if ((end - start) % 2 === 0) return end;
    }
    throw this.error('a string does not end');
  }

  private scalar(): StrictJson {
    const word = this.take(WORD);
    if (word) return word === 'null' ? null : word === 'true';
    const start = this.at;
    const number = this.take(NUMBER);
    if (!number) throw this.error('a value is malformed or missing');
    const value = Number(number);
    if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value)))
      throw new JsonError(`the number ${number.slice(0, 40)} is beyond 2^53`, start);
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

  private error(message: string): JsonError {
    return new JsonError(message, this.at);
  }
}
