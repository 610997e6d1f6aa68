import { TesseraeError } from '../errors';
import type { Dataset } from '../data/dataset';
import { lossesOf } from '../graph/losses';
import { Capacities } from '../models/capacities';
import { lengthLimits } from '../models/families';
import { packBatch } from '../models/inputs';
import type { Model } from '../models/model';
import type { PackedBatch } from '../models/packed_batch';
import { capacityOfRows } from './dataset_fit';
import type { EvaluationResult } from './events';

/** How a dataset is evaluated. */
export interface EvaluationOptions {
  /** Rows per batch. */
  readonly rows: number;
  /** Largest number of batches. */
  readonly batches: number;
  /** Called after each batch with the number of targets evaluated so far. */
  readonly onBatch?: (batch: PackedBatch, tokens: number) => void;
}

/**
 * The mean loss per target over a fixed set of rows, without dropout and label smoothing.
 *
 * @throws TesseraeError `ERR_DATA` if the dataset has no rows or no targets, `ERR_NON_FINITE` if the loss is not finite.
 */
export async function evaluateModel(
  model: Model,
  dataset: Pick<Dataset, 'blockSize' | 'evaluationBatches'>,
  options: EvaluationOptions,
): Promise<EvaluationResult> {
  const standard =
    capacityOfRows(model, options.rows, dataset.blockSize) ?? new Capacities(lengthLimits(model.config));
  const [{ output } = { output: 'loss' }] = lossesOf(model.graph);
  let lossSum = 0;
  let tokens = 0;
  for await (const batch of dataset.evaluationBatches(options.rows, options.batches)) {
    const packed = packBatch(model, batch, {
      targets: true,
      capacity: batch.capacity ?? standard,
    });
    const result = await model.native.run(
      { mode: 'eval', ...packed.capacity, outputs: [output] },
      packed.inputs,
    );
    const [sum, valid] = result.outputs[output]?.data ?? [];
    if (sum === undefined || valid === undefined)
      throw new TesseraeError('ERR_INTERNAL', 'an evaluation returned no loss of two numbers');
    lossSum += sum;
    tokens += valid;
    options.onBatch?.(packed, tokens);
  }
  if (tokens === 0)
    throw new TesseraeError(
      'ERR_DATA',
      'the evaluation has no targets: the dataset is empty, or all its targets are ignored',
    );
  const loss = lossSum / tokens;
  if (!Number.isFinite(loss))
    throw new TesseraeError('ERR_NON_FINITE', `the evaluation loss is ${loss}: the weights are damaged`);
  return { loss, perplexity: Math.exp(loss), tokens };
}
