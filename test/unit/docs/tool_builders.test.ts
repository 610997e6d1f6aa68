/** The tables of docs/tool_builders.md list all existing keys. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { metricsJsonSchema } from '../../../lib/cli/write_schema';
import type { ErrorCode } from '../../../lib/errors';
import { planTraining } from '../../../lib/training/planning';
import { TINY } from '../support/tiny_model';

const page = readFileSync(path.resolve(__dirname, '../../../docs/tool_builders.md'), 'utf8');

/** Cells of the table whose first row begins with `title`. */
function table(title: string): string[][] {
  const rows = new RegExp(`^\\| ${title} \\|.*\\n\\|[ |-]*\\n((?:\\|.*\\n)+)`, 'm').exec(page)?.[1] ?? '';
  return rows
    .trimEnd()
    .split('\n')
    .map((row) => row.split(/ ?\| ?/).slice(1, -1));
}
const named = (cell = ''): string[] => [...cell.matchAll(/`(\w+)`/g)].map(([, name = '']) => name);

it.each(['plan', 'call', 'tensor'])('every key of a %s is there, and no other', (title) => {
  const plan = planTraining({ ...TINY, nEmbd: 20 }, { chip: 'h100' });
  const [call] = plan.calls;
  const objects: Record<string, object | undefined> = { plan, call, tensor: call?.inputs[0] };
  const keys = table(title).flatMap(([cell]) => named(cell));
  expect(keys.sort()).toEqual(Object.keys(objects[title] ?? {}).sort());
  if (title !== 'plan') return;
  const described = new Map(table(title).map(([cell, , text]) => [named(cell)[0] ?? '', named(text)]));
  const { parameters, paddingPolicy } = plan;
  const nested = { memory: plan.memory[0], padding: plan.padding[0], parameters, paddingPolicy };
  for (const [key, value] of Object.entries({ ...nested, largestBatch: plan.largestBatch }))
    expect(described.get(key)).toEqual(expect.arrayContaining(Object.keys(value ?? { nothing: 0 })));
});

it('has every key of metrics.jsonl and no other', () => {
  const schema = metricsJsonSchema() as { anyOf: { properties: Record<string, { const?: string }> }[] };
  const wanted = schema.anyOf.map(({ properties: { type, ...rest } }) => [
    type?.const,
    Object.keys(rest).sort(),
  ]);
  const found = new Map<string, string[]>();
  let type = '';
  for (const [first, , key] of table('`type`')) {
    type = named(first)[0] ?? type;
    found.set(type, [...(found.get(type) ?? []), ...named(key)].sort());
  }
  expect([...found]).toEqual(wanted);
});

it('has every code and no other', () => {
  const codes: Record<ErrorCode, true> = {
    ...{ ERR_CONFIG: true, ERR_DATA: true, ERR_SHAPE: true, ERR_DEVICE: true, ERR_OUT_OF_MEMORY: true },
    ...{ ERR_CHECKPOINT: true, ERR_BUSY: true, ERR_DISPOSED: true, ERR_NON_FINITE: true },
    ...{ ERR_NATIVE_LOAD: true, ERR_DISTRIBUTED: true, ERR_INTERNAL: true },
  };
  expect(
    table('code')
      .flatMap(([cell]) => named(cell))
      .sort(),
  ).toEqual(Object.keys(codes).sort());
});
