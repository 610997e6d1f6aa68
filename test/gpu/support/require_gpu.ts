import { devices, system, type SystemInfo } from '../../../lib/native';

/**
 * Runs before the tests of a GPU. If they can't run, it ends them with the cause instead of skipping them, which is easily
 * missed. It passes them the GPUs in TESSERAE_TEST_GPUS.
 */
export default async function requireGpu(): Promise<void> {
  const problem = problemOf(await system());
  if (problem !== undefined) throw new Error(problem);
  const gpus = (await devices()).filter(({ kind }) => kind === 'cuda');
  process.env['TESSERAE_TEST_GPUS'] = gpus.map(({ name }) => name).join(',');
}

/** Why no test can run on a GPU; undefined if they can. */
export function problemOf({ cuda, gpus, problem }: SystemInfo): string | undefined {
  if (!cuda) return 'build/ has no CUDA: TESSERAE_CUDA=1 npm run build:native builds the addon with it';
  if (gpus.some(({ supported }) => supported)) return undefined;
  if (gpus.length > 0)
    return `no GPU has compute capability 8.0 or newer: ${gpus.map(({ name, capability }) => `${name} (${capability})`).join(', ')}`;
  return `there is no GPU: ${problem ?? 'the driver shows none; CUDA_VISIBLE_DEVICES may hide it'}`;
}
