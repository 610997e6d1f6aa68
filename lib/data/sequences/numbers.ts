/** Numbers in a typed array that grows. */
export class Numbers<Values extends Float64Array | Uint32Array | Int32Array> {
  private values: Values;
  private count = 0;

  constructor(private readonly type: new (length: number) => Values) {
    this.values = new type(1024);
  }

  get length(): number {
    return this.count;
  }

  push(value: number): void {
    if (this.count === this.values.length) {
      const larger = new this.type(2 * this.count);
      larger.set(this.values);
      this.values = larger;
    }
    this.values[this.count++] = value;
  }

  at(index: number): number {
    return this.values[index] as number;
  }

  all(): Values {
    return this.values.slice(0, this.count) as Values;
  }
}
