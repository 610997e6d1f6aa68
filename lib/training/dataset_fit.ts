import type { z } from 'zod';
import type { Dataset, IdRanges } from '../data/dataset';
import { requireRowsFor } from '../data/vocabulary_fit';
import { TesseraeError } from '../errors';
import { hasFunctions, taken } from '../models/argument_schemas';
import { lengthLimits, tokenSettings } from '../models/families';
import type { TokenSettings } from '../models/family';
import type { Model } from '../models/model';
import type { Capacity } from '../native';

/** Validates a dataset to train on. */
export const aTrainingSet = aDataset('batch');
/** Validates a dataset to evaluate. */
export const anEvaluationSet = aDataset('evaluationBatches');

function aDataset(method: 'batch' | 'evaluationBatches'): z.ZodType<Dataset, Dataset> {
  return taken<Dataset>(
    (value) => hasFunctions(value, [method]) && Number.isInteger((value as Dataset).blockSize),
    `a Dataset (with a blockSize and a function ${method}), such as openText returns`,
  );
}

/** @throws TesseraeError `ERR_CONFIG` if the model can't learn from the dataset. */
export function checkFits(
  {
    blockSize,
    tokenizer,
    predictsNext,
    ids,
  }: Pick<Dataset, 'blockSize' | 'tokenizer' | 'predictsNext' | 'ids'>,
  model: Model,
): void {
  if (!ids && !tokenizer && !predictsNext) return checkRows(blockSize, model);
  const { vocabSize, isCausal, ...ranges } = model.tokens('this dataset');
  if (ids) checkIds(ids, { vocabSize, ...ranges });
  if (predictsNext && !isCausal)
    throw new TesseraeError(
      'ERR_CONFIG',
      "the dataset's targets are the next tokens, but this model already sees them (isCausal is false): train a causal " +
        'model on text, or use a dataset with targets of its own',
      { details: { path: 'isCausal' } },
    );
  checkRows(blockSize, model);
  if (tokenizer) requireRowsFor(tokenizer, vocabSize);
}

/** The length to which rows without a capacity are padded; undefined if the rows themselves decide. */
export function capacityOfRows(model: Model, rows: number, blockSize: number): Capacity | undefined {
  return tokenSettings(model.config) && { rows, lengths: { time: blockSize } };
}

/** Rows extend along the first length axis. */
function checkRows(blockSize: number, { config, graph }: Model): void {
  const [axis = ''] = graph.lengthAxes;
  const most = lengthLimits(config)[axis] ?? Infinity;
  if (blockSize <= most) return;
  const limit = tokenSettings(config) ? 'nPositions' : `positions along '${axis}'`;
  throw new TesseraeError(
    'ERR_CONFIG',
    `the dataset's blockSize ${blockSize} exceeds the model's ${limit} ${most}: use rows of at most ${most} tokens, or a ` +
      `model with a larger ${limit}`,
    { details: { path: 'blockSize' } },
  );
}

function checkIds(ids: IdRanges, config: Omit<TokenSettings, 'isCausal'>): void {
  const refuse = (path: keyof IdRanges, why: string): never => {
    throw new TesseraeError(
      'ERR_CONFIG',
      `the dataset has ${path} ${ids[path]}, but the model has ${config[path]}: ${why}`,
      { details: { path } },
    );
  };
  const alike = "open the sequences with the model's value";
  if (ids.vocabSize > config.vocabSize) refuse('vocabSize', `create the model with ${ids.vocabSize}`);
  for (const path of ['nTypes', 'nStypes'] as const)
    if (ids[path] > config[path] || (ids[path] === 0 && config[path] > 0)) refuse(path, alike);
  if (ids.ignoreIndex !== config.ignoreIndex) refuse('ignoreIndex', alike);
}
