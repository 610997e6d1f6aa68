import { Capacities } from '../../../lib/models/capacities';

const size = (rows: number, time: number) => ({ rows, lengths: { time } });

it('rounds times up to multiples of 32, at most nPositions', () => {
  const capacities = new Capacities({ time: 200 });
  expect(capacities.holding(size(1, 5))).toEqual(size(1, 32));
  expect(capacities.holding(size(4, 64))).toEqual(size(4, 64));
  expect(capacities.holding(size(4, 199))).toEqual(size(4, 200));
});

it('maps a smaller batch to a capacity that is known, unless more than a third would be unused', () => {
  const capacities = new Capacities({ time: 1024 });
  expect(capacities.holding(size(12, 96))).toEqual(size(12, 96));
  expect(capacities.holding(size(12, 33))).toEqual(size(12, 96)); // 64 positions of 96: exactly a third unused
  expect(capacities.holding(size(9, 96))).toEqual(size(12, 96));
  expect(capacities.holding(size(8, 96))).toEqual(size(12, 96));
  expect(capacities.holding(size(7, 96))).toEqual(size(7, 96));
  expect(capacities.holding(size(13, 90))).toEqual(size(13, 96));
});

it('takes the smallest of those that hold a batch', () => {
  const capacities = new Capacities({ time: 1024 });
  capacities.holding(size(12, 64));
  capacities.holding(size(10, 96));
  capacities.holding(size(10, 128));
  expect(capacities.holding(size(10, 70))).toEqual(size(10, 96));
  expect(capacities.holding(size(9, 100))).toEqual(size(10, 128));
});

it('keeps eight, and forgets the one that was used longest ago', () => {
  const capacities = new Capacities({ time: 4096 });
  const rows = [1, 2, 4, 8, 16, 32, 64, 128];
  for (const count of rows) capacities.holding(size(count, 32));
  capacities.holding(size(1, 32)); // so that 2 × 32 is the oldest
  capacities.holding(size(256, 32));
  expect(capacities.holding(size(100, 32))).toEqual(size(128, 32));
  expect(capacities.holding(size(3, 32))).toEqual(size(4, 32));
  expect(capacities.holding(size(2, 32))).toEqual(size(2, 32)); // new again, in the place of 8 × 32
  expect(capacities.holding(size(7, 32))).toEqual(size(7, 32));
  expect(capacities.holding(size(1, 30))).toEqual(size(1, 32));
});

it('keeps capacities with documents apart from those without', () => {
  const capacities = new Capacities({ time: 1024 });
  const documents = { ...size(4, 64), documents: true };
  expect(capacities.holding(documents)).toEqual(documents);
  expect(capacities.holding(size(4, 64))).toEqual(size(4, 64));
  expect(capacities.holding({ ...size(3, 60), documents: true })).toEqual(documents);
});
