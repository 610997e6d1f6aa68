// Loaded before a command line (`node --import`): shows it a terminal, and tells at its end how late timers of JavaScript's
// thread were, as JSON in the file that EVENT_LOOP_REPORT names. Milliseconds beyond the probe's own interval.
import { writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

const INTERVAL = 1;

Object.assign(process.stderr, {
  isTTY: true,
  columns: 100,
  cursorTo: () => true,
  clearLine: () => true,
  moveCursor: () => true,
});
const delay = monitorEventLoopDelay({ resolution: INTERVAL });
delay.enable();
process.on('exit', () => {
  const late = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - INTERVAL);
  const report = {
    samples: delay.count,
    median: late(delay.percentile(50)),
    p99: late(delay.percentile(99)),
    max: late(delay.max),
  };
  writeFileSync(process.env.EVENT_LOOP_REPORT, JSON.stringify(report));
});
