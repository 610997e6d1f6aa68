/** Speed over the last steps. */
export class Throughput {
  private readonly steps: { tokens: number; seconds: number }[] = [];

  /** @param window - number of steps to average over. */
  constructor(private readonly window = 20) {}

  add(tokens: number, seconds: number): void {
    this.steps.push({ tokens, seconds });
    if (this.steps.length > this.window) this.steps.shift();
  }

  get tokensPerSecond(): number {
    const { tokens, seconds } = this.totals();
    return seconds > 0 ? tokens / seconds : 0;
  }

  /** Seconds that `remaining` more steps will take. */
  etaSeconds(remaining: number): number {
    return this.steps.length === 0 ? 0 : (this.totals().seconds / this.steps.length) * remaining;
  }

  private totals(): { tokens: number; seconds: number } {
    return this.steps.reduce(
      (sum, step) => ({ tokens: sum.tokens + step.tokens, seconds: sum.seconds + step.seconds }),
      { tokens: 0, seconds: 0 },
    );
  }
}
