import { z } from 'zod';
import type { Dataset } from '../data/dataset';
import { abortSignal, aFunction, anObject } from '../models/argument_schemas';
import type { TrainingArguments } from './arguments';
import { anEvaluationSet, aTrainingSet } from './dataset_fit';
import type { TrainerCallback } from './events';

/** The options of a trainer. */
export interface TrainerOptions {
  /** How to train. */
  readonly arguments: TrainingArguments;
  /** The dataset to train on; loops of your own over `step()` don't need it. */
  readonly train?: Dataset | undefined;
  /** The dataset of `evaluate()`; with it, a run evaluates every evalSteps steps and at its end. */
  readonly evaluation?: Dataset | undefined;
  /** Called with every event, in this order. Default none. */
  readonly callbacks?: readonly TrainerCallback[];
}

/** Validates TrainerOptions. */
export const trainerOptionsSchema = z.strictObject({
  arguments: anObject<TrainingArguments>(),
  train: aTrainingSet.optional(),
  evaluation: anEvaluationSet.optional(),
  callbacks: z.array(aFunction<TrainerCallback>()).default([]),
});

/** Validates the options of `train()`. */
export const trainSchema = z.strictObject({ signal: abortSignal.optional() });
