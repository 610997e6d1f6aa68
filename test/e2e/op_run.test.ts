import { caseFile } from '../unit/support/case_file';
import { attentionCase, crossEntropyCase, layerNormCase, linearCase } from '../unit/support/cases';
import { opRun } from '../unit/support/op_run';

const layerNorm = layerNormCase({ rows: 3, time: 5, nEmbd: 61, bias: true });

test('cases agree with the oracles, value and gradients', () => {
  const cases = [
    layerNorm,
    linearCase({ rows: 3, time: 17, nIn: 61, nOut: 37, bias: true }),
    attentionCase({ rows: 2, time: 19, heads: 3, headDim: 20, causal: true }),
    crossEntropyCase({ rows: 3, time: 7, vocabSize: 250, ignored: true }),
  ];
  const { status, lines } = opRun(cases.map((one) => caseFile(one)));
  expect(lines.map(({ ok, case: name }) => ({ ok, name }))).toEqual(
    cases.map(({ name }) => ({ ok: true, name })),
  );
  expect(status).toBe(0);
  for (const [index, { checks, seconds }] of lines.entries()) {
    expect(checks).toHaveLength(1 + cases[index]!.differentiable.length);
    expect(Object.keys(seconds!).length).toBeGreaterThan(0);
  }
});

test('a wrong expectation fails, and says by how much', () => {
  const content = caseFile(layerNorm) as { expected: { y: { values: number[] } } };
  content.expected.y.values[7]! += 1e-3;
  const { status, lines } = opRun([content]);
  expect(status).toBe(1);
  const y = lines[0]!.checks!.find(({ output }) => output === 'y')!;
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
  const { status, lines } = opRun([content]);
  expect(status).toBe(1);
  expect(lines).toMatchObject([{ ok: false, code }]);
});
