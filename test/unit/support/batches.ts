import type { DatasetBatch } from '../../../lib/data/dataset';
import { isPacked, type PackedBatch } from '../../../lib/models/packed_batch';

interface Inputs {
  readonly tokens: Int32Array;
  readonly targets: Int32Array;
  readonly types?: Int32Array;
  readonly subtypes?: Int32Array;
  readonly starts?: Int32Array;
}

/** A batch as data workers make it. */
export function packed(batch: DatasetBatch | undefined): Omit<PackedBatch, 'inputs'> & Inputs {
  if (!isPacked(batch)) throw new Error('the batch is not packed');
  const { inputs, ...rest } = batch;
  return { ...rest, ...(inputs as unknown as Inputs) };
}
