// Runs a command line in this process, as if at a terminal, and then writes how late the timers of JavaScript's thread were:
// JSON in the file EVENT_LOOP_REPORT, in milliseconds beyond the probe's interval. Measures from the command's first line on,
// because a server loads the modules when it starts.
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';

const INTERVAL = 1;

const { main } = createRequire(import.meta.url)('../../dist/cli/main.js');
Object.assign(process.stderr, {
  isTTY: true,
  columns: 100,
  cursorTo: () => true,
  clearLine: () => true,
  moveCursor: () => true,
});
const delay = monitorEventLoopDelay({ resolution: INTERVAL });
delay.enable();
// The first sample is taken before the command starts, so that a delay at its start is seen.
await setTimeout(20);
process.exitCode = await main(process.argv.slice(2));
const late = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - INTERVAL);
const report = {
  samples: delay.count,
  median: late(delay.percentile(50)),
  p99: late(delay.percentile(99)),
  max: late(delay.max),
};
writeFileSync(process.env.EVENT_LOOP_REPORT, JSON.stringify(report));
