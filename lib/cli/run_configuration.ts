import { z } from 'zod';
import { sequenceSynonyms } from '../data/sequences/options';
import { BATCHINGS } from '../data/sequences/sequences';
import { TOKEN_DTYPES } from '../data/tokens/format';
import { fp32 } from '../models/device_numbers';
import { modelSchema } from '../models/families';
import { paddingSchema } from '../models/padding';
import { integer, number, settings } from '../models/settings';
import { generateOptionsSchema } from '../sampling/options';
import { trainingArgumentsSchema } from '../training/arguments';

export type * from './run_configuration.generated';

const files = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);

/** The kinds of data, and the settings that only one of them has. */
const SETTINGS_OF = {
  text: [],
  tokens: ['validation', 'dtype', 'tokenizer', 'verify'],
  sequences: ['batching', 'maxTokens', 'truncation'],
} as const;
const KINDS = ['text', 'tokens', 'sequences'] as const;
const NAMES = { text: 'text', tokens: 'token files', sequences: 'sequences' } as const;

/** Validates RunData. */
export const dataSchema = z
  .strictObject({
    text: files.optional().describe('UTF-8 text files; several are joined.'),
    tokens: files
      .optional()
      .describe('The folder that `tesserae prepare` made, or token files; several are joined.'),
    sequences: files
      .optional()
      .describe('JSONL files of {"tokens": [1, 2, 3]}, a `Sequence` a line; several are joined.'),
    batching: z
      .enum(BATCHINGS)
      .optional()
      .describe(
        'With `sequences`: `pad`, one of them a row; `pack`, as many as fit a row, none of which sees another; `bucket`, rows ' +
          "of similar lengths, as many as maxTokens allows, whatever batchSize says. Default 'pad'.",
      )
      .register(settings, { type: 'Batching', imports: { Batching: '../data/sequences/source' } }),
    maxTokens: z
      .int()
      .min(1)
      .optional()
      .describe('For `bucket`, and needed there: positions of a micro-batch at most, padding included.'),
    truncation: z
      .boolean()
      .optional()
      .describe(
        'With `sequences`: whether one of more than nPositions tokens is cut to its first ones. Default false: it is an error.',
      ),
    validation: files
      .optional()
      .describe('With `tokens`: token files to validate on. Default: the val.bin of a folder.'),
    validationFraction: number(0, 0.9)
      .optional()
      .describe(
        'Share of the text, tokens or sequences, from the end, that is kept for validation. Default 0.1; a folder of token ' +
          'files has its own.',
      ),
    dtype: z
      .enum(TOKEN_DTYPES)
      .optional()
      .describe("With `tokens`: how ids are stored in a file that nothing describes. Default 'uint16'.")
      .register(settings, { type: 'TokenDtype', imports: { TokenDtype: '../data/tokens/format' } }),
    tokenizer: z
      .string()
      .min(1)
      .optional()
      .describe(
        'With `tokens`: what made the ids of files that nothing describes: `byte`, or the path of a tokenizer.json.',
      ),
    verify: z
      .boolean()
      .optional()
      .describe(
        'With `tokens`: whether files are read as a whole first, to compare their SHA-256. Default false.',
      ),
  })
  .superRefine((data, context) => {
    const given = KINDS.filter((kind) => data[kind] !== undefined);
    const [kind] = given;
    if (!kind || given.length > 1) {
      context.addIssue({
        code: 'custom',
        message: 'must have exactly one of text, tokens and sequences: the files to train on',
      });
      return;
    }
    for (const other of KINDS)
      for (const key of SETTINGS_OF[other])
        if (other !== kind && data[key] !== undefined)
          context.addIssue({
            code: 'custom',
            path: [key],
            message: `only applies to ${NAMES[other]}: remove it, because the data is ${NAMES[kind]}`,
          });
  })
  .describe(
    'What a run trains on: one of `text`, `tokens` and `sequences`, and settings that only some of them have.',
  )
  .register(settings, {
    name: 'RunData',
    synonyms: { ...sequenceSynonyms, file: 'text', files: 'text', valFraction: 'validationFraction' },
  });

const { temperature } = generateOptionsSchema.shape;

/** Validates RunSampling and fills in its defaults. */
export const samplingSchema = z
  .strictObject({
    maxNewTokens: integer(0, 1_000_000).default(200).describe('Tokens to sample; 0: no sample.'),
    temperature: fp32(z.number().min(0).max(100))
      .default(0.8)
      .describe(temperature.description ?? ''),
    seed: integer(0, Number.MAX_SAFE_INTEGER).default(0).describe('The same seed gives the same text.'),
    prompt: z.string().default('\n').describe('Text that the sample continues.'),
  })
  .describe('The sample at the end of a run.')
  .register(settings, {
    name: 'RunSampling',
    synonyms: settings.get(generateOptionsSchema)?.synonyms ?? {},
  });

/** Validates a run's configuration file; its JSON Schema is published as `tesserae/schema.json`. */
export const runSchema = z
  .strictObject({
    $schema: z.string().optional().describe('Where editors find the JSON Schema.'),
    model: modelSchema
      .optional()
      .describe(
        'The model; either this or initFrom. vocabSize defaults to that of the data: 256 for text, which is read as bytes.',
      )
      .register(settings, { type: 'ModelConfig', imports: { ModelConfig: '../models/families' } }),
    initFrom: z
      .string()
      .min(1)
      .optional()
      .describe(
        "The folder of a checkpoint, of tesserae's or of Hugging Face's GPT-2, whose model and weights training starts from.",
      ),
    data: dataSchema
      .optional()
      .describe('What to train on; only `plan`, `schedule` and the like do without.'),
    training: trainingArgumentsSchema
      .optional()
      .describe('How to train; a schedule is named here, not a function.')
      .register(settings, {
        type: `Omit<TrainingArguments, 'lrScheduler'> & {
          /** How the rate falls after warmup, by name. Default 'cosine'. */
          readonly lrScheduler?: LrSchedulerType;
        }`,
      }),
    padding: paddingSchema.optional(),
    sampling: samplingSchema.optional(),
  })
  .describe(
    "A run's configuration file, which `tesserae train` and others read: plain JSON; paths in it are relative to its folder. " +
      'Its JSON Schema is `tesserae/schema.json`.',
  )
  .register(settings, {
    name: 'RunConfiguration',
    example: `
const run: RunConfiguration = {
  model: { type: 'gpt2', nPositions: 128, nEmbd: 128, nLayer: 4, nHead: 4 },
  data: { text: 'book.txt' },
  training: { maxSteps: 1000 },
};
await writeFile('config.json', JSON.stringify(run));`,
    synonyms: {
      dataset: 'data',
      optimizer: 'training',
      initFromCheckpoint: 'initFrom',
      modelNameOrPath: 'initFrom',
      pretrained: 'initFrom',
    },
  });
