import type { Dataset } from '../../../lib/data/dataset';
import type { GPT2Options } from '../../../lib/models/gpt2_config';
import { Model, type ModelOptions } from '../../../lib/models/model';
import type { Ids } from './tokenizer';

export const TINY = {
  type: 'gpt2',
  vocabSize: 32,
  nPositions: 16,
  nEmbd: 16,
  nLayer: 1,
  nHead: 2,
  residPdrop: 0.1,
  embdPdrop: 0,
  attnPdrop: 0,
} as const;

const live: Model[] = [];

/** A model of a few thousand parameters on the CPU, disposed after the test. */
export async function tinyModel(
  config: Partial<GPT2Options> = {},
  options: ModelOptions = {},
): Promise<Model> {
  const model = await Model.create(
    { ...TINY, ...config },
    { device: 'cpu', threads: 1, seed: 1, ...options },
  );
  live.push(model);
  return model;
}

/** A model with `vocabSize` rows that finds these ids by far the likeliest after any context. */
export async function preferringModel(vocabSize: number, [first, last]: Ids): Promise<Model> {
  const model = await tinyModel({ vocabSize, tieWordEmbeddings: false });
  const { native } = model;
  const bias = await native.readTensor('parameter', 'transformer.ln_f.bias');
  await native.writeTensor('parameter', 'transformer.ln_f.bias', bias.fill(1));
  const head = await native.readTensor('parameter', 'lm_head.weight');
  const width = head.length / vocabSize;
  await native.writeTensor('parameter', 'lm_head.weight', head.fill(2, first * width, (last + 1) * width));
  return model;
}

export function disposeModels(): void {
  for (const model of live.splice(0)) model.dispose();
}

/** Rows that count upwards from a start that the request decides: easy to learn, and identified by their tokens. */
export function countingDataset(blockSize = 8): Dataset & { readonly requests: string[] } {
  const row = (start: number): number[] => Array.from({ length: blockSize }, (_, i) => (start + i) % 32);
  const requests: string[] = [];
  return {
    blockSize,
    requests,
    async batch({ seed, step, microStep, rows }) {
      requests.push(`${step}.${microStep}`);
      return {
        tokens: Array.from({ length: rows }, (_, r) => row(seed * 5 + step * 7 + (microStep * rows + r) * 3)),
      };
    },
    async *evaluationBatches(rows, batches) {
      for (let index = 0; index < Math.min(2, batches); index++)
        yield { tokens: [row(index), row(index + 9)].slice(0, rows) };
    },
  };
}
