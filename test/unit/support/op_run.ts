import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const RUNNER = path.resolve(__dirname, '../../../build/op_run');

/** The output of op_run for a case. */
export interface OpRunLine {
  readonly case: string;
  readonly ok: boolean;
  readonly checks?: readonly { output: string; error: number; tolerance: number }[];
  readonly seconds?: Readonly<Record<string, number>>;
  readonly code?: string;
  readonly message?: string;
}

/** Runs op_run on cases, which are texts or are written as JSON: its exit status, and a line for each case. */
export function opRun(
  contents: readonly unknown[],
  env: Readonly<Record<string, string>> = {},
): { readonly status: number | null; readonly lines: readonly OpRunLine[] } {
  if (!existsSync(RUNNER))
    throw new Error(
      'build/op_run is missing: npm run build:native builds it, with CUDA where TESSERAE_CUDA=1 is set',
    );
  const folder = mkdtempSync(path.join(tmpdir(), 'op-run-'));
  try {
    const files = contents.map((content, index) => {
      const file = path.join(folder, `${index}.json`);
      writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
      return file;
    });
    const { status, signal, stdout, stderr, error } = spawnSync(RUNNER, files, {
      encoding: 'utf8',
      maxBuffer: 1 << 26,
      env: { ...process.env, ...env },
    });
    if (error) throw error;
    if (signal !== null) throw new Error(`op_run was ended by ${signal}: ${stderr.slice(-2000)}`);
    const lines = stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as OpRunLine);
    return { status, lines };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
