// require_gpu.ts has found them.
const gpus = process.env['TESSERAE_TEST_GPUS']?.split(',');

/** The first GPU. */
export const gpu = gpus?.[0] ?? 'cuda:0';

/** The second GPU, when there is one. */
export const secondGpu = gpus?.[1];
