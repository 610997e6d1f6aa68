// Measures subjects side by side: warm-up, samples taken in turn so that all see the same machine, median and spread.
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import readline from 'node:readline';

/**
 * @typedef {{ name: string, sample(): Promise<number>, close?(): void }} Subject  sample() does the work once and
 * resolves to its seconds.
 */

/**
 * Samples all subjects in turn.
 *
 * @param {Subject[]} subjects
 * @param {{ warmup?: number, samples?: number }} options at least 20 samples for a figure that is published
 * @returns {Promise<{ name: string, median: number, low: number, high: number, samples: number }[]>} seconds; low and
 * high are the 10th and 90th percentiles.
 */
export async function measure(subjects, { warmup = 5, samples = 20 } = {}) {
  const seconds = subjects.map(() => []);
  for (let i = 0; i < warmup + samples; i++) {
    for (const [index, subject] of subjects.entries()) {
      const taken = await subject.sample();
      if (i >= warmup) seconds[index].push(taken);
    }
  }
  for (const subject of subjects) subject.close?.();
  return subjects.map(({ name }, index) => {
    const sorted = seconds[index].sort((a, b) => a - b);
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
    return { name, median: at(0.5), low: at(0.1), high: at(0.9), samples: sorted.length };
  });
}

/**
 * Converts the result of `measure` to work per second.
 *
 * @param {{ name: string, median: number, low: number, high: number, samples: number }[]} results seconds of a sample
 * @param {number} work in a sample
 */
export function perSecond(results, work) {
  return results.map(({ median, low, high, ...rest }) => ({
    ...rest,
    median: work / median,
    low: work / high,
    high: work / low,
  }));
}

/**
 * A subject in another process that answers each line on its input with its seconds, as JSON, on a line: the protocol of the
 * scripts in benchmarks/peers. Its first line says that it is ready and how it describes itself.
 */
export async function peer(command, args, environment = {}) {
  const child = spawn(command, args, {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...environment },
  });
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { done, value } = await lines.next();
    if (done) throw new Error(`${command} ${args.join(' ')} ended before it answered`);
    return value;
  };
  child.on('error', (error) => {
    throw new Error(`${command} can't be started: ${error.message}`);
  });
  const { name } = JSON.parse(await next());
  return {
    name,
    async sample() {
      child.stdin.write('\n');
      return JSON.parse(await next());
    },
    close() {
      child.stdin.end();
    },
  };
}

/** The machine of the measurements: the processor, or the GPU with its clocks. */
export function machine(device) {
  if (device === 'cuda') {
    const query = [
      '--query-gpu=name,driver_version,clocks.sm,clocks.max.sm',
      '--format=csv,noheader,nounits',
    ];
    const { stdout } = spawnSync('nvidia-smi', query, { encoding: 'utf8' });
    const [gpu, driver, clock, most] = stdout.split('\n')[0].split(', ');
    return {
      name: `${gpu}, driver ${driver}`,
      clocksMHz: [Number(clock), Number(most)],
      node: process.versions.node,
      date: new Date().toISOString().slice(0, 10),
    };
  }
  const cpuinfo = readFileSync('/proc/cpuinfo', 'utf8');
  const clocks = [...cpuinfo.matchAll(/^cpu MHz\s*: (.*)$/gm)].map((match) => Math.round(Number(match[1])));
  return {
    name: `${os.cpus()[0]?.model ?? 'unknown'}, ${os.availableParallelism()} processors`,
    clocksMHz: [Math.min(...clocks), Math.max(...clocks)],
    load: os.loadavg()[0],
    node: process.versions.node,
    date: new Date().toISOString().slice(0, 10),
  };
}
