import { constants } from 'node:buffer';
import { z } from 'zod';
import { exhaustedError, messageOf, TesseraeError } from '../errors';
import { filePath } from '../models/argument_schemas';
import { parseConfig, show } from '../models/validation';
import { readTextFile } from '../files/regular_file';
import { snakeCase } from '../report/metrics_file';
import type { TrainerEvent } from './events';

type SnakeCase<Key> = Key extends `${infer First}${infer Rest}`
  ? `${First extends Lowercase<First> ? First : `_${Lowercase<First>}`}${SnakeCase<Rest>}`
  : Key;

/** Numbers that may be infinite or NaN, which JSON does not have. */
type MaybeNotFinite = 'loss' | 'perplexity' | 'gradNorm' | 'tokensPerSecond' | 'etaSeconds';

/** The fields of an event that a line can hold. */
type LineOf<Event> = {
  readonly [Key in keyof Event as Event[Key] extends object | undefined ? never : SnakeCase<Key>]:
    Event[Key] | (Key extends MaybeNotFinite ? null : never);
};

/**
 * A line of metrics.jsonl, discriminated by `type`: an event of the run with its keys in snake_case (`grad_norm`,
 * `tokens_per_second`), null where a number is not finite. An `end` line has no `evaluation`: the line before it has.
 */
export type MetricsLine = TrainerEvent extends infer Event
  ? Event extends TrainerEvent
    ? LineOf<Event>
    : never
  : never;

const count = (what: string) => z.int().min(0).describe(what);
const amount = (what: string) => z.number().nullable().describe(`${what}; null: not finite`);
const text = (what: string) => z.string().describe(what);
const step = count('Optimizer steps so far');
const loss = amount('Mean loss per target, in nats');

const evaluation = {
  loss,
  perplexity: amount('e to the power of the loss'),
  tokens: count('Number of evaluated targets'),
};

const events = {
  step: z
    .object({
      type: z.literal('step'),
      step,
      loss: amount('Mean loss per target since the last step that was a multiple of loggingSteps, in nats'),
      gradNorm: amount("Norm of the step's mean gradient, before clipping"),
      learningRate: z.number().describe('The learning rate of this step'),
      tokensPerSecond: amount('Tokens per second over the last steps, without evaluations and checkpoints'),
      etaSeconds: amount('Seconds that the remaining steps will take at this speed'),
      tokens: count('Tokens so far'),
      skippedSteps: count('Steps skipped so far, because a gradient was not finite in fp16'),
      lossScale: z
        .number()
        .optional()
        .describe("What the next step's loss will be multiplied by; only in fp16"),
    })
    .describe('Progress: every loggingSteps steps, and at the last step'),
  evaluate: z
    .object({ type: z.literal('evaluate'), step, ...evaluation })
    .describe('The model was evaluated'),
  save: z
    .object({
      type: z.literal('save'),
      step: count('The step after which it was taken; later steps may have been reported before it'),
      path: text('Folder of the checkpoint'),
    })
    .describe('A checkpoint is on the disk'),
  warning: z
    .object({
      type: z.literal('warning'),
      step,
      code: text('Code of the error that it would be if it ended the run: ERR_CHECKPOINT, …'),
      message: text('What is wrong and what to do'),
    })
    .describe('A problem that does not end the run but needs attention'),
  end: z
    .object({
      type: z.literal('end'),
      reason: z.enum(['maxSteps', 'stopped']).describe('All steps were done, or the run was stopped'),
      step,
      loss: amount('Loss of the last step event, in nats'),
      evaluation: z.object(evaluation).optional().describe('The last evaluation, if there was one'),
      checkpoint: z.string().optional().describe('Folder of the last checkpoint, if one was written'),
      tokens: count('Tokens so far'),
      seconds: z.number().describe('Duration of this run in seconds, evaluations and checkpoints included'),
    })
    .describe('The run has ended'),
};

const resume = z
  .object({
    type: z.literal('resume'),
    step: count('The last step before the run resumes'),
    path: text('Folder of the checkpoint'),
  })
  .describe('The run resumes from a checkpoint; comes before all other lines');

/** An event with the keys of metrics.jsonl; a line holds no nested objects. */
function lineOf(event: z.ZodObject): z.ZodObject {
  const shape = Object.entries(event.shape).filter(([key]) => key !== 'evaluation');
  return z
    .object(Object.fromEntries(shape.map(([key, value]) => [snakeCase(key), value])))
    .describe(event.description ?? '');
}

/** A line that `tesserae train --json` prints. The command line adds `resume`; all others are TrainerEvents. */
export const eventSchema = z.discriminatedUnion('type', [
  events.step,
  events.evaluate,
  events.save,
  events.warning,
  events.end,
  resume,
]);

/** A line of metrics.jsonl. */
export const metricsSchema = z.union([
  lineOf(events.step),
  lineOf(events.evaluate),
  lineOf(events.save),
  lineOf(events.warning),
  lineOf(events.end),
]);

/**
 * Reads the metrics.jsonl of a run, even while the run writes it: an incomplete last line is left out. Lines of a type that
 * this release does not know are left out too.
 *
 * @returns its lines in order. If the run was resumed, each step still occurs once.
 * @throws TesseraeError `ERR_DATA` for a file that can't be read, or for a line that no run writes, with `details.path` and
 * `details.line`.
 *
 * @example
 * const lines = await readMetrics('runs/book/metrics.jsonl');
 * for (const line of lines) if (line.type === 'step') console.log(line.step, line.grad_norm);
 */
export async function readMetrics(file: string): Promise<MetricsLine[]> {
  parseConfig(filePath, file, { at: 'file' });
  const content = await readTextFile(file, constants.MAX_STRING_LENGTH).catch((cause: unknown) => {
    const failed = `'${file}' can't be read`;
    throw (
      exhaustedError(failed, cause) ??
      new TesseraeError('ERR_DATA', `${failed}: ${messageOf(cause)}`, { details: { path: file }, cause })
    );
  });
  return content
    .split('\n')
    .slice(0, -1)
    .flatMap((line, index) => {
      const parsed = parsedJson(line);
      const { data, error } = z.looseObject({ type: z.string() }).safeParse(parsed);
      if (data && !(data.type in events)) return [];
      if (!error && metricsSchema.safeParse(parsed).success) return [parsed as MetricsLine];
      throw new TesseraeError(
        'ERR_DATA',
        `line ${index + 1} of '${file}' is ${show(line)}, which no run writes: is it a metrics.jsonl?`,
        { details: { path: file, line: index + 1 } },
      );
    });
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
