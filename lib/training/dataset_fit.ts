import type { z } from 'zod';
import type { Dataset, IdRanges } from '../data/dataset';
import { requireRowsFor } from '../data/vocabulary_fit';
import { TesseraeError } from '../errors';
import { hasFunctions, taken } from '../models/argument_schemas';
import type { Model } from '../models/model';

/** Takes a dataset that is trained on. */
export const aTrainingSet = aDataset('batch');
/** Takes a dataset that is evaluated. */
export const anEvaluationSet = aDataset('evaluationBatches');

function aDataset(method: 'batch' | 'evaluationBatches'): z.ZodType<Dataset, Dataset> {
  return taken<Dataset>(
    (value) => hasFunctions(value, [method]) && Number.isInteger((value as Dataset).blockSize),
    `a Dataset (with a blockSize and a function ${method}), such as openText gives`,
  );
}

/** @throws TesseraeError `ERR_CONFIG` for a dataset that the model can't learn from. */
export function checkFits(
  {
    blockSize,
    tokenizer,
    predictsNext,
    ids,
  }: Pick<Dataset, 'blockSize' | 'tokenizer' | 'predictsNext' | 'ids'>,
  model: Model,
): void {
  const { nPositions, vocabSize, isCausal } = model.config;
  if (ids) checkIds(ids, model);
  if (predictsNext && !isCausal)
    throw new TesseraeError(
      'ERR_CONFIG',
      "the dataset's targets are the next tokens, which this model sees (isCausal is false): train a causal model on " +
        'text, or use a dataset with targets of its own',
      { details: { path: 'isCausal' } },
    );
  if (blockSize > nPositions)
    throw new TesseraeError(
      'ERR_CONFIG',
      `the dataset's blockSize ${blockSize} is more than the model's nPositions ${nPositions}: use rows of at most ` +
        `${nPositions} tokens, or a model with a larger nPositions`,
      { details: { path: 'blockSize' } },
    );
  if (tokenizer) requireRowsFor(tokenizer, vocabSize);
}

function checkIds(ids: IdRanges, { config }: Model): void {
  const refuse = (path: keyof IdRanges, why: string): never => {
    throw new TesseraeError(
      'ERR_CONFIG',
      `the dataset has ${path} ${ids[path]}, but the model has ${config[path]}: ${why}`,
      { details: { path } },
    );
  };
  const alike = 'open the sequences with that of the model';
  if (ids.vocabSize > config.vocabSize) refuse('vocabSize', `create the model with ${ids.vocabSize}`);
  for (const path of ['nTypes', 'nStypes'] as const)
    if (ids[path] > config[path] || (ids[path] === 0 && config[path] > 0)) refuse(path, alike);
  if (ids.ignoreIndex !== config.ignoreIndex) refuse('ignoreIndex', alike);
}
