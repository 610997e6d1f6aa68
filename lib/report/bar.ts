import { SingleBar } from 'cli-progress';

/**
 * A progress bar with a text, drawn at most ten times a second and removed when it is stopped. Undefined if `stream` is not a
 * terminal, or one that can't move its cursor (TERM=dumb).
 */
export function terminalBar(
  stream: NodeJS.WritableStream & { readonly isTTY?: boolean },
): SingleBar | undefined {
  if (!stream.isTTY || process.env['TERM'] === 'dumb') return undefined;
  return new SingleBar({
    stream,
    format: '{bar} {text}',
    formatBar: (progress) => {
      const done = Math.round(progress * 24);
      return '█'.repeat(done) + '░'.repeat(24 - done);
    },
    fps: 10,
    clearOnComplete: true,
  });
}
