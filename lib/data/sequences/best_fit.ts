/** The documents of each row. */
export interface PackedRows {
  /** Index in `documents` where each row begins; one entry more than there are rows. */
  readonly first: Int32Array;
  /** Numbers of documents, row by row. */
  readonly documents: Int32Array;
}

/**
 * Packs documents into rows by best fit decreasing (Johnson 1973: at most 11/9 of the fewest rows possible, and some):
 * from the longest on, each goes into the row with the least room that still holds it.
 *
 * @param lengths - tokens of each document, ascending, each from 1 to blockSize.
 */
export function packRows(lengths: Int32Array, blockSize: number): PackedRows {
  const count = lengths.length;
  const rowOf = new Int32Array(count);
  // Rows with the same room left form a linked list; `newest` is its head, or -1.
  const newest = new Int32Array(blockSize + 1).fill(-1);
  const before = new Int32Array(count);
  const rooms = new BitSet(blockSize + 1);
  let rows = 0;
  for (let document = count - 1; document >= 0; document--) {
    const length = lengths[document] as number;
    let room = rooms.next(length);
    let row = rows;
    if (room < 0) {
      rows++;
      room = blockSize;
    } else {
      row = newest[room] as number;
      const rest = before[row] as number;
      newest[room] = rest;
      if (rest < 0) rooms.remove(room);
    }
    rowOf[document] = row;
    const left = room - length;
    before[row] = newest[left] as number;
    newest[left] = row;
    rooms.add(left);
  }
  return grouped(rowOf, rows);
}

/** Documents by row, the longest of each row first. */
function grouped(rowOf: Int32Array, rows: number): PackedRows {
  const first = new Int32Array(rows + 1);
  for (const row of rowOf) first[row + 1] = (first[row + 1] as number) + 1;
  for (let row = 0; row < rows; row++) first[row + 1] = (first[row + 1] as number) + (first[row] as number);
  const next = first.slice();
  const documents = new Int32Array(rowOf.length);
  for (let document = rowOf.length - 1; document >= 0; document--) {
    const row = rowOf[document] as number;
    documents[next[row] as number] = document;
    next[row] = (next[row] as number) + 1;
  }
  return { first, documents };
}

/** A set of small integers that finds the next one quickly. */
class BitSet {
  private readonly words: Uint32Array;

  constructor(size: number) {
    this.words = new Uint32Array(Math.ceil(size / 32));
  }

  add(value: number): void {
    this.words[value >>> 5] = (this.words[value >>> 5] as number) | (1 << (value & 31));
  }

  remove(value: number): void {
    this.words[value >>> 5] = (this.words[value >>> 5] as number) & ~(1 << (value & 31));
  }

  /** The least member that is at least `value`; -1: none. */
  next(value: number): number {
    let word = value >>> 5;
    let bits = (this.words[word] as number) & (-1 << (value & 31));
    while (bits === 0) {
      if (++word >= this.words.length) return -1;
      bits = this.words[word] as number;
    }
    return 32 * word + (31 - Math.clz32(bits & -bits));
  }
}
