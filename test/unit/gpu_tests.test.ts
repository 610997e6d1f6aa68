import { readdirSync } from 'node:fs';
import path from 'node:path';
import type { SystemInfo } from '../../lib/native';
import { problemOf } from '../gpu/support/require_gpu';

const folder = path.resolve(__dirname, '../gpu');

test('each file of GPU tests belongs to a part, which is run by the name of its folder', () => {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const tests = files.filter((file) => file.endsWith('.test.ts'));
  expect(tests.length).toBeGreaterThan(5);
  // A file beside the folders, or deeper in them, would be in no part.
  expect(tests.filter((file) => file.split(path.sep).length !== 2)).toEqual([]);
});

const info = (more: Partial<SystemInfo>): SystemInfo => ({
  cuda: true,
  oneDnn: '3.0.0',
  gpus: [],
  libraries: {},
  ...more,
});
const card = { index: 0, name: 'V100', capability: '7.0', memory: 1e9, supported: false };

test.each<[string, SystemInfo, RegExp | undefined]>([
  [
    'a build without CUDA',
    info({ cuda: false }),
    /build\/ has no CUDA: TESSERAE_CUDA=1 npm run build:native/,
  ],
  ['no driver', info({ problem: 'libcuda.so.1 is missing' }), /there is no GPU: libcuda.so.1 is missing/],
  ['a driver that shows no GPU', info({}), /there is no GPU: .*CUDA_VISIBLE_DEVICES/],
  ['an old GPU', info({ gpus: [card] }), /no GPU has compute capability 8.0 or newer: V100 \(7.0\)/],
  ['a GPU', info({ gpus: [card, { ...card, supported: true }] }), undefined],
])('GPU tests name the cause: %s', (_, system, message) => {
  if (message) expect(problemOf(system)).toMatch(message);
  else expect(problemOf(system)).toBeUndefined();
});
