import { TesseraeError } from '../../errors';
import { Numbers } from './numbers';
import { checkSequence, type CheckedSequence, type SequenceRules } from './sequence';
import { StartCounts } from './starts';

/** Checked sequences and their lengths; their contents are read when needed. */
export interface SequenceStore {
  /** Tokens of each sequence. */
  readonly lengths: Int32Array;
  readonly starts: StartCounts;
  /** Whether sequences have targets of their own. */
  readonly hasTargets: boolean;
  /** The fields of `fieldsOf`, one after the other. */
  values(sequence: number): Int32Array;
  close(): void;
}

/** Throws `ERR_DATA` about a sequence. */
export const refusal =
  (where: string, details: Record<string, unknown>) =>
  (why: string): never => {
    throw new TesseraeError('ERR_DATA', `${where} ${why}`, { details });
  };

/** Checks sequences one by one, and that they all have targets or none. */
export class Census {
  readonly starts = new StartCounts();
  private readonly tokens = new Numbers(Int32Array);
  private targets: boolean | undefined;

  constructor(private readonly rules: SequenceRules) {}

  /** Checks a sequence and counts it. */
  add(value: unknown, refuse: (why: string) => never): CheckedSequence {
    const checked = checkSequence(value, this.rules, refuse);
    const { hasTargets } = checked;
    if (hasTargets !== (this.targets ??= hasTargets))
      refuse(
        `has ${hasTargets ? '' : 'no '}targets, but earlier sequences have ${hasTargets ? 'none' : 'some'}: give them to all or to none`,
      );
    this.tokens.push(checked.length);
    this.starts.add(checked, this.rules.ignoreIndex);
    return checked;
  }

  get hasTargets(): boolean {
    return this.targets ?? false;
  }

  get count(): number {
    return this.tokens.length;
  }

  lengths(): Int32Array {
    return this.tokens.all();
  }
}

/** Sequences in memory, which arrive in parts. */
export class MemoryStore implements SequenceStore {
  private readonly census: Census;
  private readonly stored: Int32Array[] = [];
  private known: Int32Array | undefined;

  constructor(rules: SequenceRules) {
    this.census = new Census(rules);
  }

  add(sequences: readonly unknown[]): void {
    for (const value of sequences) {
      const sequence = this.stored.length;
      const refuse = refusal(`sequence ${sequence}`, { sequence });
      this.stored.push(this.census.add(value, refuse).values);
    }
    this.known = undefined;
  }

  get lengths(): Int32Array {
    return (this.known ??= this.census.lengths());
  }

  get starts(): StartCounts {
    return this.census.starts;
  }

  get hasTargets(): boolean {
    return this.census.hasTargets;
  }

  values(sequence: number): Int32Array {
    return this.stored[sequence] as Int32Array;
  }

  close(): void {
    this.stored.length = 0;
  }
}
