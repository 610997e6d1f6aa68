import { writeFileSync } from 'node:fs';
import { z } from 'zod';
import { runSchema } from './config';

/** The JSON Schema of a run's configuration, for editors. */
export function configSchema(): object {
  return { title: 'A tesserae run', ...z.toJSONSchema(runSchema, { io: 'input' }) };
}

if (require.main === module) {
  const [file] = process.argv.slice(2);
  if (file === undefined) throw new Error('usage: write_schema.js <file>');
  writeFileSync(file, `${JSON.stringify(configSchema(), null, 2)}\n`);
}
