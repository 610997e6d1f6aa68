import { devices } from '../../../lib/native';

const gpus = devices().filter(({ kind }) => kind === 'cuda');

/** The first GPU; require_gpu.ts has seen that there is one. */
export const gpu = gpus[0]?.name ?? 'cuda:0';

/** The second GPU, when there is one. */
export const secondGpu = gpus[1]?.name;
