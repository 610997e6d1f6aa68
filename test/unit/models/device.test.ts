import { pickDevice } from '../../../lib/models/device';
import { failureOf } from '../support/errors';

const cpu = { name: 'cpu', kind: 'cpu', description: '' } as const;
const gpu = (name: string) => ({ name, kind: 'cuda', description: '' }) as const;
const without = () => [cpu];
const two = () => [cpu, gpu('cuda:0'), gpu('cuda:1')];

describe('pickDevice', () => {
  it('takes the CPU with a reason when auto finds no GPU', () => {
    const { device, fallbackReason } = pickDevice('auto', without, () => true);
    expect(device).toBe('cpu');
    expect(fallbackReason).toMatch(/no CUDA device/);
    expect(pickDevice('auto', without, () => false).fallbackReason).toMatch(/this build has no CUDA/);
  });

  it('takes the GPU that is asked for', () => {
    expect(pickDevice('cpu', two)).toEqual({ device: 'cpu' });
    expect(pickDevice('auto', two)).toEqual({ device: 'cuda:0' });
    expect(pickDevice('cuda', two)).toEqual({ device: 'cuda:0' });
    expect(pickDevice('cuda:1', two)).toEqual({ device: 'cuda:1' });
  });

  it('refuses a GPU that is not there and says why', async () => {
    expect((await failureOf('ERR_DEVICE', () => pickDevice('cuda', without, () => true))).message).toMatch(
      /no CUDA device/,
    );
    expect((await failureOf('ERR_DEVICE', () => pickDevice('cuda:2', two))).message).toMatch(
      /cuda:0, cuda:1/,
    );
  });

  it.each(['gpu', 'CUDA', 'cuda:', ''])('refuses the name %p', async (name) => {
    expect((await failureOf('ERR_CONFIG', () => pickDevice(name, two))).message).toContain(`'${name}'`);
  });
});
