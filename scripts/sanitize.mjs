// npm run sanitize: compute-sanitizer's memcheck, racecheck and initcheck over every CUDA kernel, on small shapes in fp32,
// bf16 and fp16. Operations and a whole model run by op_run with an allocation for each buffer; optimizer steps and
// sampling through the addon. Prints a table; any finding, and any case that fails, is a failure.
//   node scripts/sanitize.mjs [--device cuda:0] [--tool memcheck]… [--keep FOLDER for the checkers' logs]
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

import swc from '@swc/core';

const root = path.resolve(import.meta.dirname, '..');
const require = createRequire(import.meta.url);
// Cases are TypeScript.
require.extensions['.ts'] = (module, filename) => {
  const { code } = swc.transformFileSync(filename, {
    jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
    module: { type: 'commonjs' },
  });
  module._compile(code, filename);
};

const { values: options } = parseArgs({
  options: {
    device: { type: 'string', default: 'cuda:0' },
    tool: { type: 'string', multiple: true, default: ['memcheck', 'racecheck', 'initcheck'] },
    keep: { type: 'string' },
    steps: { type: 'string' }, // a precision: the part that runs in this process, under a checker
  },
});

if (options.steps) {
  const { trainAndSample } = require('../test/sanitize/steps.ts');
  await trainAndSample(options.device, options.steps);
} else {
  process.exitCode = await sanitize();
}

async function sanitize() {
  const sanitizer = ['compute-sanitizer', '/usr/local/cuda/bin/compute-sanitizer'].find(
    (name) =>
      existsSync(name) || process.env.PATH.split(':').some((folder) => existsSync(path.join(folder, name))),
  );
  const runner = path.join(root, 'build/op_run');
  if (!sanitizer || !existsSync(runner)) {
    console.error(
      sanitizer
        ? 'build/op_run is missing: TESSERAE_CUDA=1 npm run build:native'
        : 'compute-sanitizer is neither on PATH nor in /usr/local/cuda/bin: install the CUDA toolkit',
    );
    return 1;
  }
  const folder = options.keep ?? mkdtempSync(path.join(os.tmpdir(), 'tesserae-sanitize-'));
  mkdirSync(folder, { recursive: true });

  const { sanitizerCases } = require('../test/sanitize/cases.ts');
  const jobs = [];
  for (const precision of ['fp32', 'bf16', 'fp16']) {
    const files = sanitizerCases(options.device, precision).map((one, index) => {
      const file = path.join(folder, `${precision}-${index}.json`);
      writeFileSync(file, JSON.stringify(one));
      return file;
    });
    for (const tool of options.tool) {
      jobs.push({
        tool,
        precision,
        what: 'operations, own products',
        command: [runner, ...files],
        own: true,
      });
      // For cuBLASLt, only our calls matter here. initcheck does not see what its Hopper kernels store through TMA, so it takes
      // correct results for unwritten memory.
      if (tool === 'memcheck')
        jobs.push({ tool, precision, what: 'operations, cuBLASLt', command: [runner, ...files] });
      const steps = [
        process.execPath,
        import.meta.filename,
        '--device',
        options.device,
        '--steps',
        precision,
      ];
      jobs.push({ tool, precision, what: 'training and sampling', command: steps, own: true });
    }
  }

  const queue = jobs.entries();
  const work = async () => {
    for (const [index, job] of queue) {
      job.log = path.join(folder, `${index}-${job.tool}-${job.precision}.log`);
      Object.assign(job, await check(sanitizer, job));
    }
  };
  await Promise.all(Array.from({ length: Math.min(8, os.availableParallelism()) }, work));

  const failed = jobs.filter(({ findings, status }) => findings !== 0 || status !== 0);
  console.table(
    jobs.map(({ tool, precision, what, findings, status, seconds }) => ({
      tool,
      precision,
      what,
      findings: findings ?? 'no report',
      status,
      seconds,
    })),
  );
  for (const { tool, precision, what, log, output } of failed) {
    console.error(`\n${tool}, ${precision}, ${what}:\n${output.slice(-2000)}`);
    if (existsSync(log)) console.error(readFileSync(log, 'utf8').slice(0, 6000));
  }
  console.log(`${jobs.length - failed.length} of ${jobs.length} runs without a finding`);
  if (!options.keep) rmSync(folder, { recursive: true });
  return failed.length > 0 ? 1 : 0;
}

/** Runs a command under a checker: its exit status, how many findings the checker's log ends with, and its output. */
function check(sanitizer, { tool, command, own, log }) {
  const started = Date.now();
  return new Promise((resolve) => {
    const child = spawn(
      sanitizer,
      ['--tool', tool, '--target-processes', 'all', '--print-limit', '20', '--log-file', log, ...command],
      // initcheck does not see what TMA writes, so it gets the kernels without it.
      {
        cwd: root,
        env: { ...process.env, ...(own ? { TESSERAE_GEMM: tool === 'initcheck' ? 'sm80' : 'own' } : {}) },
      },
    );
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
    child.on('close', (status) => {
      const text = existsSync(log) ? readFileSync(log, 'utf8') : '';
      const summary = /(?:ERROR SUMMARY: (\d+) error|RACECHECK SUMMARY: (\d+) hazard)/.exec(text);
      resolve({
        status,
        findings: summary ? Number(summary[1] ?? summary[2]) : undefined,
        seconds: Math.round((Date.now() - started) / 1000),
        // Cases that failed; op_run reports each in one line.
        output: output
          .split('\n')
          .filter((line) => !line.includes('"ok":true'))
          .join('\n'),
      });
    });
  });
}
