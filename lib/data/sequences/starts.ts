import { z } from 'zod';
import type { SequenceStarts } from '../dataset';
import type { CheckedSequence } from './sequence';

/** With more different first tokens, sequences count as beginning with any token. */
const MOST_FIRST_TOKENS = 16;

const token = z.strictObject({ token: z.int().min(0), count: z.int().min(1) });
const given = z.int().min(1);

/** Validates the part of a file that says how sequences begin. */
export const startsSchema = z.strictObject({
  firstTokens: z.union([z.array(token).min(1).max(MOST_FIRST_TOKENS), z.literal('any')]),
  promptTokens: z.strictObject({ least: given, most: given }),
}) satisfies z.ZodType<SequenceStarts>;

/** Counts how sequences begin. */
export class StartCounts {
  private readonly counts = new Map<number, number>();
  private least = Infinity;
  private most = 0;

  add({ length, values }: CheckedSequence, ignoreIndex: number): void {
    const token = values[0] as number;
    if (this.counts.size <= MOST_FIRST_TOKENS) this.counts.set(token, (this.counts.get(token) ?? 0) + 1);
    const targets = values.subarray(values.length - length);
    const given = targets.findIndex((target) => target !== ignoreIndex) + 1;
    this.least = Math.min(this.least, given);
    this.most = Math.max(this.most, given);
  }

  summary(): SequenceStarts {
    const found = [...this.counts].map(([token, count]) => ({ token, count }));
    return {
      firstTokens:
        found.length > MOST_FIRST_TOKENS
          ? 'any'
          : found.sort((a, b) => b.count - a.count || a.token - b.token),
      promptTokens: { least: this.least, most: this.most },
    };
  }
}
