import { z } from 'zod';
import { savedProductSchema } from '../products/entry';
import { readJson } from './json_file';

export const TRAINER_STATE = 'trainer_state.json';

const count = z.int().min(0);

const schema = z.strictObject({
  /** 2 since it has earlyStopping, 3 since it has products. */
  version: z.literal([1, 2, 3]),
  /** Version of tesserae that wrote it. */
  library: z.string(),
  /** Optimizer steps of the trainer. */
  step: count,
  /** How many of them were skipped, because a gradient was not finite in fp16. */
  skipped: count,
  /** Tokens that were read. */
  tokens: count,
  /** The loss of the steps since the last that was a multiple of loggingSteps, in nats. */
  interval: z.strictObject({ lossSum: z.number(), validTargets: z.number().min(0) }),
  /** The optimizer's State beside optimizer.safetensors; absent, with that file, before the first step. */
  optimizer: z
    .strictObject({
      /** Steps tried, which random numbers are indexed by, and steps taken, which the schedule is. */
      attempted: count,
      applied: count,
      lossScaler: z.strictObject({ scale: z.number().positive(), cleanSteps: count, skippedInRow: count }),
    })
    .optional(),
  /** Where the data continues: the request for the next batch. */
  data: z.strictObject({
    seed: count,
    step: count,
    blockSize: count.optional(),
    order: z.string().optional(),
  }),
  /** Mean loss per target in the evaluation at this step, if there was one. */
  evaluationLoss: z.number().optional(),
  /** The counts of each early stopping of the trainer: the one of its arguments, and those of its callbacks by index. */
  earlyStopping: z
    .record(
      z.string(),
      z.strictObject({
        best: z.strictObject({ step: count, loss: z.number() }).optional(),
        waited: count,
      }),
    )
    .optional(),
  /** Seed of the model, which dropout is drawn by. */
  modelSeed: count,
  /** The training arguments with every default filled in. */
  arguments: z.record(z.string(), z.unknown()),
  precision: z.string(),
  /** What else the bits of a result depend on. */
  machine: z.strictObject({
    device: z.string(),
    isa: z.string(),
    /** Chip and versions of libraries, which decide how matrix products are tiled. */
    arithmetic: z.string(),
    /** The padding policy, which decides the layout; absent before there was a choice. */
    padding: z.string().default('default'),
    layoutHash: z.string(),
  }),
  /** The kernels of the matrix products on a GPU, which a resumed run uses again. */
  products: z
    .strictObject({
      /** Version of cuBLASLt, which the numbers of its algorithms hold for. */
      library: count.exactOptional(),
      kernels: z.array(savedProductSchema),
    })
    .optional(),
});

/** What a trainer needs in addition to weights and moments to resume as if it had never stopped. */
export type TrainerState = z.output<typeof schema>;

/** The text of trainer_state.json. */
export const trainerStateText = (state: TrainerState): string => `${JSON.stringify(state, null, 2)}\n`;

/** @throws TesseraeError `ERR_CHECKPOINT` if it is missing or not valid. */
export const readTrainerState = (directory: string): Promise<TrainerState> =>
  readJson(directory, TRAINER_STATE, schema);
