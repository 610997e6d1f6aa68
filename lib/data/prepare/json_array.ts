/** Finds the elements of a JSON array in bytes, without parsing them: such a file may be larger than memory. */

/** A complete element. */
export interface ArrayElement {
  readonly from: number;
  readonly to: number;
}

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/** Scans an array part by part. Offsets are offsets in the file. */
export class ArrayScanner {
  /** Whether the array has ended; only spaces may follow. */
  closed = false;
  private start: number | undefined;
  private depth = 0;
  private inText = false;
  private escaped = false;
  /** What came last between elements. */
  private last: 'opening' | 'element' | 'comma';
  private opened: boolean;

  /**
   * @param refuse - throws an error about an offset.
   * @param atElement - whether what comes first is an element, not the bracket that opens the array.
   */
  constructor(
    private readonly refuse: (why: string, offset: number) => never,
    atElement: boolean,
  ) {
    this.last = atElement ? 'comma' : 'opening';
    this.opened = atElement;
  }

  /** Where the element that has not ended yet begins. */
  get unfinished(): number | undefined {
    return this.start;
  }

  /** The elements that end in a part of the file, which begins where the previous part ended. */
  *scan(bytes: Uint8Array, base: number): Generator<ArrayElement> {
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i] as number;
      if (this.inText) {
        if (this.escaped) this.escaped = false;
        else if (byte === BACKSLASH) this.escaped = true;
        else if (byte === QUOTE) this.inText = false;
        continue;
      }
      if (this.start === undefined) {
        if (isSpace(byte)) continue;
        this.between(byte, base + i);
        if (this.start === undefined) continue;
      } else if (this.depth === 0 && (byte === COMMA || byte === CLOSE_ARRAY)) {
        yield { from: this.start, to: base + i };
        this.start = undefined;
        this.last = 'element';
        this.between(byte, base + i);
        continue;
      }
      if (byte === QUOTE) this.inText = true;
      else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) this.depth++;
      else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) this.depth--;
    }
  }

  /** @throws what `refuse` does, for an array that has not ended. */
  end(offset: number): void {
    if (!this.closed) this.refuse('ends inside its array: the file was cut off', offset);
  }

  private between(byte: number, offset: number): void {
    if (this.closed) this.refuse("has something after the ']' of its array", offset);
    if (!this.opened) {
      this.opened = true;
      return;
    }
    if (byte === CLOSE_ARRAY) {
      if (this.last === 'comma') this.refuse("has a ',' after the last element of its array", offset);
      this.closed = true;
    } else if (byte === COMMA) {
      if (this.last !== 'element') this.refuse("has a ',' without an element before it", offset);
      this.last = 'comma';
    } else {
      if (this.last === 'element') this.refuse("lacks a ',' between two elements of its array", offset);
      this.start = offset;
    }
  }
}
