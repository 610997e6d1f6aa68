import { devices } from '../../../lib/native';

const gpus = devices().filter(({ kind }) => kind === 'cuda');

/** The first GPU. Without one the tests of this project fail: they are not to be skipped by mistake. */
export const gpu = gpus[0]?.name ?? 'cuda:0';

/** The second GPU, when there is one. */
export const secondGpu = gpus[1]?.name;
