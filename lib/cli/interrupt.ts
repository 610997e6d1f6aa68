/** The exit code of a program that Ctrl-C ended. */
export const INTERRUPTED = 130;

/** Ctrl-C (or SIGTERM): the first asks the command to come to an end, the second ends the process at once. */
export class Interrupt {
  private readonly controller = new AbortController();
  private readonly signals = ['SIGINT', 'SIGTERM'] as const;

  /**
   * @param onFirst - tells the user that the command is coming to an end.
   * @param onSecond - restores the terminal.
   */
  constructor(
    private readonly onFirst: () => void,
    private readonly onSecond: () => void = () => undefined,
  ) {
    for (const signal of this.signals) process.on(signal, this.handle);
  }

  /** Aborted by the first interrupt. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Whether there was an interrupt. */
  get requested(): boolean {
    return this.controller.signal.aborted;
  }

  /** Gives the signals back. */
  [Symbol.dispose](): void {
    for (const signal of this.signals) process.off(signal, this.handle);
  }

  private readonly handle = (): void => {
    if (this.requested) {
      this.onSecond();
      process.exit(INTERRUPTED);
    }
    this.controller.abort();
    this.onFirst();
  };
}
