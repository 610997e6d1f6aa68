import { createColors } from 'picocolors';

/**
 * Colours for text on `stream`. A terminal gets them, a file or a pipe only if FORCE_COLOR is set; NO_COLOR turns them off for
 * both.
 */
export function colorsFor(stream: { readonly isTTY?: boolean }): ReturnType<typeof createColors> {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  const wanted = FORCE_COLOR ? FORCE_COLOR !== '0' : stream.isTTY === true && TERM !== 'dumb';
  return createColors(!NO_COLOR && wanted);
}
