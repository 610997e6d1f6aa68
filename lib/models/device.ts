import { TesseraeError } from '../errors';
import { devices, system, type DeviceInfo } from '../native';

/** Where a model lives: `auto` takes the first GPU, or the CPU when there is none. */
export type Device = 'auto' | 'cpu' | 'cuda' | `cuda:${number}`;

/** The device that was picked, and why it is not a GPU when `auto` was asked for. */
export interface PickedDevice {
  readonly device: string;
  readonly fallbackReason?: string;
}

/**
 * Finds a device among those that this build and machine offer.
 *
 * @throws TesseraeError `ERR_CONFIG` for a name that is no device's; `ERR_DEVICE` for one that is not there.
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
  if (found) return { device: found.name };
  const reason =
    gpus.length > 0
      ? `this machine's GPUs are ${gpus.map(({ name }) => name).join(', ')}`
      : (await hasCuda())
        ? 'this machine has no CUDA device of sm_80 or newer that its driver shows (tesserae doctor tells more)'
        : 'this build has no CUDA (where nvcc 13 is: TESSERAE_CUDA=1 npm run build:native)';
  if (wanted === 'auto') return { device: 'cpu', fallbackReason: reason };
  throw new TesseraeError(
    'ERR_DEVICE',
    `device '${wanted}' is not there: ${reason}. Use ${gpus.length > 0 ? 'one of those, ' : ''}'cpu' or 'auto'`,
    { details: { device: wanted } },
  );
}
