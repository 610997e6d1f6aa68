import { constants } from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGHUP'] as const;
type Signal = (typeof SIGNALS)[number];

/** The exit code of a program that a signal ended, as in shells: 128 plus the signal's number. */
const codeOf = (signal: Signal): number => 128 + constants.signals[signal];

/**
 * Signals that ask the command to stop: SIGINT (Ctrl-C), SIGTERM (schedulers, containers), SIGUSR1 (a
 * scheduler's warning ahead of the end) and SIGHUP (the terminal was closed). A second SIGINT ends the process at once;
 * schedulers may repeat the others.
 */
export class Interrupt {
  private readonly controller = new AbortController();
  private first: Signal | undefined;
  private interrupts = 0;

  /**
   * @param onFirst - called at the first signal, to stop the command and tell the user.
   * @param onHardStop - restores the terminal.
   */
  constructor(
    private readonly onFirst: () => void,
    private readonly onHardStop: () => void = () => undefined,
  ) {
    for (const signal of SIGNALS) process.on(signal, this.handle);
  }

  /** Aborted by the first signal. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Whether there was a signal. */
  get requested(): boolean {
    return this.first !== undefined;
  }

  /** The exit code of the process: 0 without a signal, otherwise 128 plus the number of the first. */
  get exitCode(): number {
    return this.first === undefined ? 0 : codeOf(this.first);
  }

  /** Stops listening to the signals. */
  [Symbol.dispose](): void {
    for (const signal of SIGNALS) process.off(signal, this.handle);
  }

  private readonly handle = (given: NodeJS.Signals): void => {
    const signal = given as Signal;
    if (signal === 'SIGINT' && ++this.interrupts === 2) {
      this.onHardStop();
      process.exit(codeOf(signal));
    }
    if (this.first !== undefined) return;
    this.first = signal;
    this.controller.abort();
    this.onFirst();
  };
}
