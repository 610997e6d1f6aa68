import { StopFilter } from '../../../lib/sampling/stop_filter';

/** Pieces in, pieces shown out, until it stops. */
function filtered(stops: readonly string[], pieces: readonly string[]): string[] {
  const filter = new StopFilter(stops);
  const shown: string[] = [];
  for (const piece of pieces) {
    const { text, stopped } = filter.push(piece);
    shown.push(text);
    if (stopped) return [...shown, '<stop>'];
  }
  return [...shown, filter.end()];
}

describe('StopFilter', () => {
  it('lets everything pass without stop texts', () => {
    expect(filtered([], ['a', 'b'])).toEqual(['a', 'b', '']);
  });

  it('ends before a stop text, wherever it is cut', () => {
    expect(filtered(['END'], ['onE', 'N', 'D!'])).toEqual(['on', '', '', '<stop>']);
    expect(filtered(['END'], ['oneEND!'])).toEqual(['one', '<stop>']);
  });

  it('holds back what may be a start and lets it go when it was none', () => {
    expect(filtered(['aab'], ['a', 'a', 'a', 'c'])).toEqual(['', '', 'a', 'aac', '']);
    expect(filtered(['END'], ['xE'])).toEqual(['x', 'E']);
  });

  it('takes the earliest of several', () => {
    expect(filtered(['lo', 'el'], ['hello'])).toEqual(['h', '<stop>']);
  });
});
