import { createColors } from 'picocolors';

/**
 * Colours for what is written to `stream`: a terminal gets them, a file or a pipe only where FORCE_COLOR asks for
 * them; NO_COLOR takes them from both.
 */
export function colorsFor(stream: { readonly isTTY?: boolean }): ReturnType<typeof createColors> {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  const wanted = FORCE_COLOR ? FORCE_COLOR !== '0' : stream.isTTY === true && TERM !== 'dumb';
  return createColors(!NO_COLOR && wanted);
}
