import { z } from 'zod';
import { TesseraeError } from '../errors';
import { devices, system, type DeviceInfo } from '../native';
import { show } from './validation';

/** The device of a model: `auto` picks the first GPU, or the CPU if there is none. */
export type Device = 'auto' | 'cpu' | 'cuda' | `cuda:${number}`;

/** A rank that is a thread of this process and computes on the CPU: `cpu:0`, `cpu:1`, …. */
export type RankDevice = `cpu:${number}`;

/** The chosen device, and for `auto` why it is not a GPU. */
export interface PickedDevice {
  readonly device: string;
  /** The name of a GPU for `plan`; absent for a GPU that `plan` does not know. */
  readonly chip?: string;
  readonly fallbackReason?: string;
}

/**
 * Finds a device among those of this build and machine.
 *
 * @throws TesseraeError `ERR_CONFIG` for an unknown name; `ERR_DEVICE` for a device that does not exist.
 */
export async function pickDevice(
  wanted: string,
  available: () => Promise<readonly DeviceInfo[]> = devices,
  hasCuda: () => Promise<boolean> = async () => (await system()).cuda,
): Promise<PickedDevice> {
  if (!/^(auto|cpu|cuda(:\d{1,4})?)$/.test(wanted))
    throw new TesseraeError(
      'ERR_CONFIG',
      `device '${wanted}' is unknown: use 'auto', 'cpu', 'cuda' or 'cuda:0', 'cuda:1', …`,
      { details: { path: 'device' } },
    );
  if (wanted === 'cpu') return { device: 'cpu' };
  const gpus = (await available()).filter((device) => device.kind === 'cuda');
  const found = wanted === 'auto' || wanted === 'cuda' ? gpus[0] : gpus.find(({ name }) => name === wanted);
  if (found) return { device: found.name, ...(found.chip === undefined ? {} : { chip: found.chip }) };
  const reason =
    gpus.length > 0
      ? `this machine's GPUs are ${gpus.map(({ name }) => name).join(', ')}`
      : (await hasCuda())
        ? 'this machine has no visible CUDA device of sm_80 or newer (tesserae doctor shows why)'
        : 'this build has no CUDA support (with nvcc 13: TESSERAE_CUDA=1 npm run build:native)';
  if (wanted === 'auto') return { device: 'cpu', fallbackReason: reason };
  throw new TesseraeError(
    'ERR_DEVICE',
    `device '${wanted}' is not available: ${reason}. Use ${gpus.length > 0 ? 'one of these, ' : ''}'cpu' or 'auto'`,
    { details: { device: wanted } },
  );
}

const MOST_RANKS = 64;

/** Validates the devices of ranks. */
export const rankDevicesSchema = z
  .array(
    z.string().refine((name) => /^cpu:\d{1,3}$/.test(name), {
      error: ({ input }) =>
        `is ${show(input)}: the devices of ranks are 'cpu:0', 'cpu:1', …; several GPUs can't train one model yet`,
    }),
  )
  .min(1)
  .max(MOST_RANKS)
  .refine((names) => new Set(names).size === names.length, {
    error: 'has a device twice: give each rank its own',
  });
