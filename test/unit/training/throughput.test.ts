import { Throughput } from '../../../lib/training/throughput';

describe('Throughput', () => {
  it('averages over the last steps', () => {
    const speed = new Throughput(2);
    expect(speed.tokensPerSecond).toBe(0);
    expect(speed.etaSeconds(10)).toBe(0);
    speed.add(1000, 100);
    speed.add(100, 1);
    speed.add(300, 1);
    expect(speed.tokensPerSecond).toBe(200);
    expect(speed.etaSeconds(5)).toBe(5);
  });
});
