import { TesseraeError } from '../errors';
import { devices, system, type DeviceInfo } from '../native';

/** The device of a model: `auto` picks the first GPU, or the CPU if there is none. */
export type Device = 'auto' | 'cpu' | 'cuda' | `cuda:${number}`;

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
