import { SingleBar } from 'cli-progress';

/** A bar with a text beside it, drawn at most ten times a second and removed when it is stopped. */
export function terminalBar(stream: NodeJS.WritableStream): SingleBar {
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
