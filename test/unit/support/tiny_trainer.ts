import type { TrainingArguments } from '../../../lib/training/arguments';
import { Trainer } from '../../../lib/training/trainer';
import type { TrainerOptions } from '../../../lib/training/trainer_options';
import { countingDataset, tinyModel } from './tiny_model';

export const ARGUMENTS: TrainingArguments = {
  maxSteps: 6,
  batchSize: 2,
  learningRate: 1e-2,
  loggingSteps: 1,
};

/** A trainer of a tiny model on rows that count. */
export async function trainer(
  args: Partial<TrainingArguments> = {},
  options: Partial<TrainerOptions> = {},
): Promise<Trainer> {
  const model = await tinyModel();
  return new Trainer(model, { arguments: { ...ARGUMENTS, ...args }, train: countingDataset(), ...options });
}
