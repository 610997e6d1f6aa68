import { largestOf, smallestOf } from '../models/extremes';

/** Finds stop texts in text that arrives in pieces, and holds back what may turn out to be the start of one. */
export class StopFilter {
  private held = '';

  constructor(private readonly stops: readonly string[]) {}

  /** What may be shown after `piece`; `stopped`: a stop text was found, and the text ends before it. */
  push(piece: string): { text: string; stopped: boolean } {
    const text = this.held + piece;
    const found = this.stops.map((stop) => text.indexOf(stop)).filter((index) => index >= 0);
    if (found.length > 0) {
      this.held = '';
      return { text: text.slice(0, smallestOf(found)), stopped: true };
    }
    const keep = largestOf([0, ...this.stops.map((stop) => overlap(text, stop))]);
    this.held = text.slice(text.length - keep);
    return { text: text.slice(0, text.length - keep), stopped: false };
  }

  /** What was held back, when no more text follows. */
  end(): string {
    const text = this.held;
    this.held = '';
    return text;
  }
}

/** Length of the longest end of `text` with which `stop` begins. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--)
    if (text.endsWith(stop.slice(0, length))) return length;
  return 0;
}
