import { buildGraph, resolveModelConfig } from '../../../lib/models/families';
import { devices, plan as planGraph, type PlanRequest } from '../../../lib/native';
import type { Plan } from '../../../lib/report/plan_table';
import { failureOf } from '../support/errors';
import { TINY } from '../support/tiny_model';

const graph = buildGraph(resolveModelConfig({ ...TINY, nEmbd: 64, nLayer: 2 }));
const plan = (request: Partial<PlanRequest> = {}): Plan =>
  planGraph(graph, { rows: 4, time: 16, ...request }) as Plan;
const bytesOf = ({ memory }: Plan): Record<string, number> =>
  Object.fromEntries(memory.map(({ owner, bytes }) => [owner, bytes]));

const GRANULE = 2 * 2 ** 20;

it('counts whole granules and what CUDA takes besides on a GPU, bytes on the CPU', () => {
  const arenas = [
    'parameters',
    'gradients',
    'moment1',
    'moment2',
    'state',
    'schedule',
    'inputs',
    'workspace',
  ];
  const gpu = bytesOf(plan({ chip: 'h100' }));
  for (const owner of [...arenas, 'halfCopy']) {
    expect(gpu[owner]).toBeGreaterThan(0);
    expect((gpu[owner] ?? NaN) % GRANULE).toBe(0);
  }
  for (const owner of ['context', 'cublasLt', 'graphs']) expect(gpu[owner]).toBeGreaterThan(0);

  const cpu = bytesOf(plan());
  expect(cpu['gradients']).toBe(cpu['parameters']);
  for (const owner of arenas) expect(cpu[owner]).toBeLessThan(GRANULE);
  expect(cpu).toMatchObject({ halfCopy: 0 });
  for (const owner of ['context', 'cublasLt', 'graphs']) expect(cpu).not.toHaveProperty(owner);
});

it.each(['cpu', 'h100'])('adds up the same for the total and for the largest batch (%s)', (chip) => {
  const memory = plan({ chip, rows: 300 }).totalBytes;
  const { rows } = plan({ chip, memory }).largestBatch;
  expect(rows).toBeGreaterThanOrEqual(300);
  expect(plan({ chip, rows }).totalBytes).toBeLessThanOrEqual(memory);
  expect(plan({ chip, rows: rows + 1 }).totalBytes).toBeGreaterThan(memory);
  expect(plan({ chip, memory: 1000 }).largestBatch.rows).toBe(0);
  for (const wrong of [-1, -1e300, 1e300])
    expect(() => plan({ chip, memory: wrong })).toThrow(/plan.memory is/);
});

it('knows the chip of the CPU, and says which chips there are', async () => {
  expect(devices()[0]).toMatchObject({ name: 'cpu', chip: 'cpu' });
  const { message } = await failureOf('ERR_CONFIG', () => plan({ chip: 'h1000' }));
  expect(message).toMatch(/h100, h200, .*cpu/);
});
