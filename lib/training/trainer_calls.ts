/** Checks the arguments of a trainer's calls. */
import { TesseraeError } from '../errors';
import { MOST_ENTRIES, reading, readList } from '../models/array_likes';
import type { StepBatch } from '../models/inputs';

/** The batches given to `step()`; JavaScript may pass anything. */
export function listOf(batches: unknown): readonly StepBatch[] {
  const rules = { name: 'the list of batches', code: 'ERR_DATA', most: MOST_ENTRIES } as const;
  const list = reading(rules, (): readonly unknown[] => (Array.isArray(batches) ? batches : [batches]));
  return readList(list, rules, (batch) => {
    if (typeof batch === 'object' && batch !== null) return batch as StepBatch;
    throw new TesseraeError(
      'ERR_DATA',
      'step() needs a batch such as { tokens: [[1, 2, 3]] }, or an array of them',
    );
  });
}

/** An error for a call that needs a missing option. @param path - the option. */
export function missing(path: string, why: string): TesseraeError {
  return new TesseraeError('ERR_CONFIG', why, { details: { path } });
}
