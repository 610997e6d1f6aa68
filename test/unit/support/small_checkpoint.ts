import path from 'node:path';
import type { UnwrittenCheckpoint } from '../../../lib/checkpoint/checkpoint_writer';
import { readManifest, verifyFiles } from '../../../lib/checkpoint/manifest';
import { checkpointFolder } from '../../../lib/checkpoint/run_folder';
import { readSafetensors, type TensorSource } from '../../../lib/checkpoint/safetensors';
import { TRAINER_STATE, trainerStateText, type TrainerState } from '../../../lib/checkpoint/trainer_state';
import { TesseraeError } from '../../../lib/errors';

const NAMES = ['model.safetensors', 'optimizer.safetensors', TRAINER_STATE, 'manifest.json'];

/** A checkpoint without a model whose tensors hold `value` everywhere; its run keeps the newest two. */
export function smallCheckpoint(run: string, step: number, value: number): UnwrittenCheckpoint {
  const tensor = (name: string): TensorSource => ({
    name,
    shape: [3, 5],
    read: () => Promise.resolve(new Float32Array(15).fill(value)),
  });
  return {
    directory: checkpointFolder(run, step),
    names: NAMES,
    files: [
      ['model.safetensors', [tensor('a'), tensor('b')]],
      ['optimizer.safetensors', [tensor('a.exp_avg')]],
      [TRAINER_STATE, trainerStateText(state(step))],
    ],
    rotation: { run, limit: 2, bestLimit: 0 },
  };
}

const state = (step: number): TrainerState => ({
  version: 1,
  library: '0.0.0',
  step,
  skipped: 0,
  tokens: 0,
  interval: { lossSum: 0, validTargets: 0 },
  data: { seed: 0, step },
  modelSeed: 0,
  arguments: {},
  precision: 'fp32',
  machine: { device: 'cpu', isa: '', arithmetic: '', padding: 'default', layoutHash: '' },
});

/** The value in the tensors of a checkpoint; undefined if it is incomplete. */
export async function valueOf(run: string, step: number): Promise<number | undefined> {
  const directory = checkpointFolder(run, step);
  try {
    await verifyFiles(directory, await readManifest(directory));
  } catch (error) {
    if (error instanceof TesseraeError) return undefined;
    throw error;
  }
  const file = await readSafetensors(path.join(directory, 'model.safetensors'));
  try {
    return (await file.readFloat32('b'))[14];
  } finally {
    await file.close();
  }
}
