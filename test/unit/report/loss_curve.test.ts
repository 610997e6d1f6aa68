import { lossCurveSvg, lossCurveTerminal, type LossPoint } from '../../../lib/report/loss_curve';

const falling: LossPoint[] = Array.from({ length: 200 }, (_, i) => ({ step: i + 1, loss: 5 - i / 50 }));
const validation: LossPoint[] = [
  { step: 100, loss: 3.2 },
  { step: 200, loss: 1.4 },
];

/** Coordinates of every path of an SVG text. */
const paths = (svg: string): [number, number][][] =>
  [...svg.matchAll(/<path d="M([^"]*)"/g)].map(([, d]) =>
    (d ?? '').split('L').map((pair) => pair.split(',').map(Number) as [number, number]),
  );

describe('lossCurveSvg', () => {
  it('draws both losses, from left to right and downwards', () => {
    const svg = lossCurveSvg(falling, validation, { title: 'demo' });
    const [training, evaluations] = paths(svg);
    expect(training).toHaveLength(200);
    expect(evaluations).toHaveLength(2);
    expect(training?.at(0)?.[0]).toBe(64);
    expect(training?.at(-1)?.[0]).toBe(776);
    for (const [i, [x, y]] of (training ?? []).entries()) {
      const [before, above] = training?.[i - 1] ?? [-1, -1];
      expect(x).toBeGreaterThan(before);
      expect(y).toBeGreaterThan(above);
    }
    expect(svg.match(/<circle/g)).toHaveLength(2);
    expect(svg).toContain('>training<');
    expect(svg).toContain('>validation<');
  });

  it('escapes the title', () => {
    expect(lossCurveSvg(falling, [], { title: `<a & "b">` })).toContain('&lt;a &amp; &quot;b&quot;&gt;');
  });

  it('averages neighbours of a long run instead of picking from its noise', () => {
    const noisy = Array.from({ length: 60_000 }, (_, i) => ({ step: i, loss: i % 2 === 0 ? 1 : 3 }));
    const [training] = paths(lossCurveSvg(noisy, [], { title: 'long' }));
    expect(training).toHaveLength(600);
    expect(new Set(training?.map(([, y]) => y)).size).toBe(1);
  });

  it('leaves out values that are not finite', () => {
    const broken = [...falling, { step: 201, loss: NaN }, { step: 202, loss: Infinity }];
    expect(lossCurveSvg(broken, [], { title: 'x' })).toBe(lossCurveSvg(falling, [], { title: 'x' }));
  });

  it('draws one point and none', () => {
    expect(lossCurveSvg([], [], { title: 'empty' })).toContain('no data');
    expect(lossCurveSvg([{ step: 1, loss: 2 }], [], { title: 'one' })).not.toMatch(/NaN|undefined/);
  });
});

describe('lossCurveTerminal', () => {
  const plain = (text: string): string[] => text.split('\n');

  it('fits the width and the height that it is given', () => {
    const lines = plain(lossCurveTerminal(falling, [], { width: 60, height: 10, color: false }));
    expect(lines).toHaveLength(1 + 10 + 1);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(60);
    expect(lines[0]).toContain('training loss');
    expect(lines[1]).toContain('4.97');
    expect(lines.at(-2)).toContain('1.0');
    expect(lines.at(-1)).toMatch(/step 1 +200$/);
  });

  it('falls from the upper left to the lower right', () => {
    const lines = plain(lossCurveTerminal(falling, [], { width: 60, height: 10, color: false }));
    expect(lines[1]?.search(/[─╮]/)).toBeLessThan(lines.at(-2)?.search(/[─╰]/) ?? 0);
  });

  it('shows the validation loss in colour', () => {
    const text = lossCurveTerminal(falling, validation, { color: true });
    expect(text).toContain('validation loss');
    expect(text).toContain('\u001b[33m');
    expect(lossCurveTerminal(falling, validation, { color: false })).not.toContain('validation');
  });

  it('shows no validation loss before the first evaluation', () => {
    const flat = falling.map(({ step }) => ({ step, loss: 4 }));
    const text = lossCurveTerminal(flat, [{ step: 200, loss: 1 }], { width: 60, color: true });
    const columns = text
      .split('\n')
      .slice(1, -1)
      .map((line) => line.replaceAll('\u001b[34m', '').replaceAll('\u001b[0m', '').indexOf('\u001b[33m'))
      .filter((column) => column >= 0);
    expect(columns.length).toBeGreaterThan(0);
    expect(Math.min(...columns)).toBeGreaterThan(50);
  });

  it('draws nothing of a single step', () => {
    expect(lossCurveTerminal([{ step: 1, loss: 3 }], [])).toBe('');
    expect(lossCurveTerminal([], validation)).toBe('');
  });

  it('draws a loss that does not move', () => {
    const level = falling.map(({ step }) => ({ step, loss: 2 }));
    expect(lossCurveTerminal(level, [], { color: false })).toContain('2.000');
  });
});
