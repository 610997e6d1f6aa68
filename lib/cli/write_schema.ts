import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { eventSchema, metricsSchema } from '../training/metrics';
import { runSchema } from './run_configuration';

/** The JSON Schema of a run's configuration, for editors. */
export function configSchema(): object {
  return { title: 'A tesserae run', ...z.toJSONSchema(runSchema, { io: 'input' }) };
}

/** The JSON Schema of a line of metrics.jsonl. It allows unknown keys, because later releases may add some. */
export function metricsJsonSchema(): object {
  return {
    title: "A line of a tesserae run's metrics.jsonl",
    ...z.toJSONSchema(metricsSchema, { io: 'input' }),
  };
}

/** The JSON Schema of a line of `tesserae train --json`. It allows unknown keys too. */
export function eventJsonSchema(): object {
  return { title: 'A line of tesserae train --json', ...z.toJSONSchema(eventSchema, { io: 'input' }) };
}

if (require.main === module) {
  const [folder] = process.argv.slice(2);
  if (folder === undefined) throw new Error('usage: write_schema.js <folder>');
  for (const [name, schema] of [
    ['config', configSchema()],
    ['metrics', metricsJsonSchema()],
    ['events', eventJsonSchema()],
  ] as const)
    writeFileSync(path.join(folder, `${name}.schema.json`), `${JSON.stringify(schema, null, 2)}\n`);
}
