import { pickDevice } from '../../../lib/models/device';
import { failureOf } from '../support/errors';

const cpu = { name: 'cpu', kind: 'cpu', description: '' } as const;
const gpu = (name: string) => ({ name, kind: 'cuda', description: '' }) as const;
const without = () => Promise.resolve([cpu]);
const two = () => Promise.resolve([cpu, gpu('cuda:0'), gpu('cuda:1')]);
const cuda = (has: boolean) => () => Promise.resolve(has);

describe('pickDevice', () => {
  it('takes the CPU with a reason when auto finds no GPU', async () => {
    const { device, fallbackReason } = await pickDevice('auto', without, cuda(true));
    expect(device).toBe('cpu');
    expect(fallbackReason).toMatch(/no visible CUDA device/);
    expect((await pickDevice('auto', without, cuda(false))).fallbackReason).toMatch(/this build has no CUDA/);
  });

  it('uses the requested GPU', async () => {
    expect(await pickDevice('cpu', two)).toEqual({ device: 'cpu' });
    expect(await pickDevice('auto', two)).toEqual({ device: 'cuda:0' });
    expect(await pickDevice('cuda', two)).toEqual({ device: 'cuda:0' });
    expect(await pickDevice('cuda:1', two)).toEqual({ device: 'cuda:1' });
  });

  it('refuses a missing GPU and says why', async () => {
    expect((await failureOf('ERR_DEVICE', () => pickDevice('cuda', without, cuda(true)))).message).toMatch(
      /no visible CUDA device/,
    );
    expect((await failureOf('ERR_DEVICE', () => pickDevice('cuda:2', two))).message).toMatch(
      /cuda:0, cuda:1/,
    );
  });

  it.each(['gpu', 'CUDA', 'cuda:', ''])('refuses the name %p', async (name) => {
    expect((await failureOf('ERR_CONFIG', () => pickDevice(name, two))).message).toContain(`'${name}'`);
  });
});
