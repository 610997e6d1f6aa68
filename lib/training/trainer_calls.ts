/** What a trainer says to calls that it can't serve. */
import { TesseraeError } from '../errors';
import { MOST_ENTRIES, reading, readList } from '../models/array_likes';
import type { StepBatch } from '../models/inputs';

/** What `step()` was given: JavaScript may give anything. */
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

/** For a call that needs what the trainer was not given. @param path - the option that it would be in. */
export function missing(path: string, why: string): TesseraeError {
  return new TesseraeError('ERR_CONFIG', why, { details: { path } });
}
