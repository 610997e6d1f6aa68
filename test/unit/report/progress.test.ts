import { Writable } from 'node:stream';
import { TrainingProgress } from '../../../lib/report/progress';

class Screen extends Writable {
  text = '';

  constructor(readonly isTTY: boolean) {
    super();
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

const state = (step: number) => ({ step, loss: 2.5, tokensPerSecond: 21_300, etaSeconds: 65 });

beforeEach(() => jest.useFakeTimers());
afterEach(() => {
  jest.useRealTimers();
  jest.restoreAllMocks();
});

it.each([
  ['there is no terminal', false, 'xterm'],
  ['it can not move its cursor', true, 'dumb'],
])('writes a line every ten seconds where %s', (_, isTTY, terminal) => {
  jest.replaceProperty(process, 'env', { ...process.env, TERM: terminal });
  const screen = new Screen(isTTY);
  const progress = new TrainingProgress({ total: 100, stream: screen });
  for (let step = 1; step <= 100; step++) {
    jest.advanceTimersByTime(250);
    progress.update(state(step));
  }
  progress.stop();
  expect(screen.text).toBe(
    'step 40/100 · loss 2.5000 · 21.3 k tokens/s · 1m 05s left\n' +
      'step 80/100 · loss 2.5000 · 21.3 k tokens/s · 1m 05s left\n',
  );
});

it('draws a bar on a terminal, at most ten times a second', () => {
  const screen = new Screen(true);
  const progress = new TrainingProgress({ total: 1000, stream: screen });
  for (let step = 1; step <= 1000; step++) {
    progress.update(state(step));
    jest.advanceTimersByTime(1);
  }
  progress.stop();
  expect(screen.text).toContain('░');
  expect(screen.text).toContain('loss 2.5000');
  const drawn = screen.text.match(/tokens\/s/g) ?? [];
  expect(drawn.length).toBeGreaterThan(5);
  expect(drawn.length).toBeLessThanOrEqual(12);
});

it('moves on between the events, with what the last one told', () => {
  const screen = new Screen(false);
  const progress = new TrainingProgress({ total: 100, stream: screen, intervalSeconds: 0 });
  progress.advance(1);
  progress.update(state(10));
  progress.advance(10); // nothing new
  progress.advance(55);
  progress.stop();
  expect(screen.text).toBe(
    'step 1/100\n' +
      'step 10/100 · loss 2.5000 · 21.3 k tokens/s · 1m 05s left\n' +
      'step 55/100 · loss 2.5000 · 21.3 k tokens/s · 33s left\n',
  );
});

it('keeps lines above the bar, and leaves no timer behind', () => {
  const screen = new Screen(true);
  const progress = new TrainingProgress({ total: 10, stream: screen });
  progress.log('before');
  progress.update(state(1));
  progress.log('validation loss 2.1');
  progress.stop();
  progress.stop();
  expect(screen.text.startsWith('before\n')).toBe(true);
  expect(screen.text).toContain('validation loss 2.1\n');
  // ESC 8 moves the cursor back to where the bar was started; it must come first.
  expect(screen.text.indexOf('\u001b8')).toBeLessThan(screen.text.indexOf('validation loss'));
  // The bar was started again after the line, in the place that the cursor had then.
  expect(screen.text.lastIndexOf('loss 2.5000')).toBeGreaterThan(screen.text.indexOf('validation loss'));
  expect(jest.getTimerCount()).toBe(0);
});
