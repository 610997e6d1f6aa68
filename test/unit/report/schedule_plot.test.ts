import { scheduleSvg, scheduleText } from '../../../lib/report/schedule_plot';
import { scheduleOf } from '../../../lib/training/arguments';
import { failureOf } from '../support/errors';

const curve = (svg: string): [number, number][] =>
  [...svg.matchAll(/<path d="M([^"Z]*)/g)].flatMap(([, d]) =>
    (d ?? '').split('L').map((pair) => pair.split(',').map(Number) as [number, number]),
  );

describe('scheduleSvg', () => {
  const schedule = scheduleOf({
    maxSteps: 100,
    learningRate: 1e-3,
    warmupSteps: 10,
    lrScheduler: 'warmupStableDecay',
  });

  it('draws every step of a short run over its phases', () => {
    const svg = scheduleSvg(schedule, { title: 'a & b' });
    const points = curve(svg);
    expect(points).toHaveLength(100);
    // Up, level, down; a picture's y grows downwards.
    expect(points[9]?.[1]).toBeLessThan(points[0]?.[1] ?? NaN);
    expect(points[79]?.[1]).toBe(points[9]?.[1]);
    expect(points[99]?.[1]).toBeGreaterThan(points[79]?.[1] ?? NaN);
    for (const phase of ['warmup', 'stable', 'decay']) expect(svg).toContain(`>${phase}<`);
    expect(svg).toContain('>1e-3<');
    expect(svg).toContain('a &amp; b');
  });

  it('marks phases at their steps, without gaps', () => {
    const bands = [
      ...scheduleSvg(schedule, { title: 'x' }).matchAll(/<rect x="([\d.]+)" y="66" width="([\d.]+)"/g),
    ];
    const edges = bands.map(([, from, width]) => [Number(from), Number(from) + Number(width)]);
    // The frame is 704 wide from 72 on: 10, 70 and 20 of 100 steps.
    expect(edges.flat().map((x) => Math.round(x))).toEqual([72, 142, 142, 635, 635, 776]);
  });

  it('shows a peak of one step in a long run, and names only phases that have room', () => {
    const rates = Float32Array.from({ length: 100_000 }, (_, i) => (i === 54_321 ? 2 : 1));
    const phases = [
      { name: 'thin', start: 0, end: 10 },
      { name: 'wide', start: 10, end: 100_000 },
    ];
    const svg = scheduleSvg({ rates, phases }, { title: 'long' });
    expect(curve(svg).length).toBeLessThan(1500);
    expect(new Set(curve(svg).map(([, y]) => y)).size).toBe(2);
    expect(svg).not.toContain('thin');
    expect(svg).toContain('>wide<');
  });

  it('draws one step, none, and rates of 0', () => {
    const one = { rates: [0.5], phases: [{ name: 'x', start: 0, end: 1 }] };
    for (const odd of [one, { rates: [], phases: [] }, { rates: [0, 0], phases: [] }])
      expect(scheduleSvg(odd, { title: 'odd' })).not.toMatch(/NaN|undefined|null/);
    expect(scheduleSvg({ rates: [], phases: [] }, { title: 'none' })).toContain('no steps');
  });

  it.each([-1e-9, NaN, Infinity])('refuses a rate of %d, and names its step', async (wrong) => {
    const failure = await failureOf('ERR_CONFIG', () =>
      scheduleSvg({ rates: [1, wrong], phases: [] }, { title: 'wrong' }),
    );
    expect(failure.details['step']).toBe(2);
    expect(failure.message).toContain(`learning rate of step 2 would be ${wrong}`);
  });
});

it('scheduleText has a line for each phase', () => {
  const schedule = scheduleOf({ maxSteps: 100, learningRate: 1e-3, warmupSteps: 1, lrScheduler: 'linear' });
  expect(scheduleText(schedule).split('\n')).toEqual([
    'phase     steps  first rate  last rate',
    '------  -------  ----------  ---------',
    'warmup        1        1e-3       1e-3',
    'decay   2 – 100        1e-3    1.01e-5',
  ]);
});
