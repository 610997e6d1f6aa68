import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runGraph } from '../oracles/graph';
import { atStart } from '../oracles/philox';
import { tensor } from '../oracles/tensor';
import {
  attentionCase,
  crossEntropyCase,
  layerNormCase,
  linearCase,
  NODE,
  type OperationCase,
} from '../unit/support/cases';
import { fp32Tolerance } from '../unit/support/compare';
import { SEED } from '../unit/support/native';

const RUNNER = path.resolve(__dirname, '../../build/op_run');

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'op-run-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Line {
  readonly case: string;
  readonly ok: boolean;
  readonly checks: readonly { output: string; error: number; tolerance: number }[];
  readonly seconds: Readonly<Record<string, number>>;
  readonly code?: string;
}

function run(...contents: unknown[]): { code: number | null; lines: Line[] } {
  const files = contents.map((content, index) => {
    const file = path.join(folder, `${index}.json`);
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
    return file;
  });
  const { status, stdout } = spawnSync(RUNNER, files, { encoding: 'utf8', maxBuffer: 1 << 26 });
  const lines = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line);
  return { code: status, lines };
}

/** The case as the runner reads it: inputs, and what the fp64 oracle expects of its value and gradients. */
function caseFile(one: OperationCase): Record<string, unknown> {
  const isInput = (name: string): boolean => one.graph.inputs.some((input) => input.name === name);
  const seed = one.given.get('dy') ?? tensor([1], [1 / (one.rows * one.time)]);
  const oracle = runGraph(one.graph, one.given, new Map([[NODE, seed]]), {
    train: true,
    random: atStart(SEED),
    labelSmoothing: 0,
  });
  const output = 'loss' in one.graph.outputs ? 'loss' : 'y';
  const tolerance = fp32Tolerance(one.terms);
  const values = (data: ArrayLike<number>) => ({ values: Array.from(data), tolerance });
  const given = (wanted: (name: string) => boolean) =>
    Object.fromEntries(
      [...one.given].filter(([name]) => wanted(name)).map(([name, { data }]) => [name, Array.from(data)]),
    );
  return {
    name: one.name,
    graph: one.graph,
    model: { seed: SEED },
    request: {
      mode: 'train',
      rows: one.rows,
      time: one.time,
      outputs: [output],
      ...(output === 'loss' ? {} : { seeds: { y: 'dy' } }),
      gradientsOf: one.differentiable.filter(isInput),
    },
    run: { poison: true, separate: true },
    repeat: 3,
    inputs: given(isInput),
    parameters: given((name) => !isInput(name)),
    expected: {
      [output]: values(oracle.values.get(NODE)!.data),
      ...Object.fromEntries(
        one.differentiable.map((name) => [`d(${name})`, values(oracle.gradients.get(name)!.data)]),
      ),
    },
  };
}

const layerNorm = layerNormCase({ rows: 3, time: 5, nEmbd: 61, bias: true });

test('the runner was built', () => {
  expect(existsSync(RUNNER)).toBe(true);
});

test('cases agree with the oracles, value and gradients', () => {
  const cases = [
    layerNorm,
    linearCase({ rows: 3, time: 17, nIn: 61, nOut: 37, bias: true }),
    attentionCase({ rows: 2, time: 19, heads: 3, headDim: 20, causal: true }),
    crossEntropyCase({ rows: 3, time: 7, vocabSize: 250, ignored: true }),
  ];
  const { code, lines } = run(...cases.map(caseFile));
  expect(lines.map(({ ok, case: name }) => ({ ok, name }))).toEqual(
    cases.map(({ name }) => ({ ok: true, name })),
  );
  expect(code).toBe(0);
  for (const [index, { checks, seconds }] of lines.entries()) {
    expect(checks).toHaveLength(1 + cases[index]!.differentiable.length);
    expect(Object.keys(seconds).length).toBeGreaterThan(0);
  }
});

test('a wrong expectation fails, and says by how much', () => {
  const content = caseFile(layerNorm) as { expected: { y: { values: number[] } } };
  content.expected.y.values[7]! += 1e-3;
  const { code, lines } = run(content);
  expect(code).toBe(1);
  const y = lines[0]!.checks.find(({ output }) => output === 'y')!;
  expect(lines[0]!.ok).toBe(false);
  expect(y.error).toBeGreaterThan(y.tolerance);
});

test.each([
  ['no JSON', '{', 'ERR_CONFIG'],
  ['an unknown key', { ...caseFile(layerNorm), colour: 1 }, 'ERR_CONFIG'],
  ['no graph', { request: {}, inputs: {} }, 'ERR_CONFIG'],
  ['an input too short', { ...caseFile(layerNorm), inputs: { x: [1], dy: [1] } }, 'ERR_DATA'],
  ['a precision that the CPU lacks', { ...caseFile(layerNorm), model: { precision: 'bf16' } }, 'ERR_DEVICE'],
])('%s is a coded error', (_, content, code) => {
  const { code: status, lines } = run(content);
  expect(status).toBe(1);
  expect(lines).toMatchObject([{ ok: false, code }]);
});
