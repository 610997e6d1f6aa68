import { elements, type Tensor } from '../../oracles/tensor';

/** Seeded numbers for tests: mulberry32, with normals by Box and Muller. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer in [0, below). */
  integer(below: number): number {
    return Math.floor(this.uniform() * below);
  }

  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  pick<T>(values: readonly T[]): T {
    return values[this.integer(values.length)]!;
  }

  /** Normals that fp32 holds exactly: kernel and oracle get the same numbers. */
  normals(shape: readonly number[], std = 1): Tensor {
    return this.tensor(shape, () => Math.fround(std * this.normal()));
  }

  /** Ids in [0, below). */
  ids(shape: readonly number[], below: number): Tensor {
    return this.tensor(shape, () => this.integer(below));
  }

  tensor(shape: readonly number[], draw: () => number): Tensor {
    const data = new Float64Array(elements(shape));
    for (let i = 0; i < data.length; i++) data[i] = draw();
    return { shape, data };
  }
}
