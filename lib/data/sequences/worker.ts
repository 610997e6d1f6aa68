/** The worker thread that makes batches of sequences, for `sequences.ts` and `stream.ts`. */
import { TesseraeError } from '../../errors';
import type { PackedBatch } from '../../models/packed_batch';
import { serve } from '../../threads/server';
import { moved, servedBatches } from '../batch_source';
import { JsonlStore } from './jsonl_store';
import { checkSequence, type SequenceRules } from './sequence';
import { batchOf, SequenceSource, type BatchingRules, type SequenceFacts } from './source';
import { MemoryStore, refusal } from './store';

let memory: MemoryStore | undefined;
let source: SequenceSource | undefined;

const methods = {
  /** Adds sequences in memory, which are opened after the last of them. */
  add(sequences: readonly unknown[], rules: SequenceRules): void {
    memory ??= new MemoryStore(rules);
    memory.add(sequences);
  },

  /** Opens files; without paths, the added sequences. */
  open(rules: BatchingRules, paths?: readonly string[]): SequenceFacts {
    const store = paths ? JsonlStore.open(paths, rules) : (memory ?? new MemoryStore(rules));
    source = new SequenceSource(store, rules);
    return source.facts;
  },

  ...servedBatches(() => {
    if (!source)
      throw new TesseraeError('ERR_INTERNAL', 'the data worker was asked for rows before sequences');
    return source;
  }),

  /**
   * A batch of a stream.
   *
   * @param first - number of the first of the sequences.
   */
  streamBatch(sequences: readonly unknown[], first: number, rules: StreamRules): PackedBatch {
    const rows = sequences.map((value, i) => {
      const refuse = refusal(`sequence ${first + i} of the stream`, { sequence: first + i });
      const { values, hasTargets } = checkSequence(value, rules, refuse);
      if (hasTargets !== rules.targets)
        refuse(
          `has ${hasTargets ? '' : 'no '}targets, but the option targets is ${rules.targets}: change one of them`,
        );
      return [values];
    });
    return moved(batchOf(rows, rules, { rows: rows.length, lengths: { time: rules.blockSize } }));
  },
};

interface StreamRules extends SequenceRules {
  /** Whether sequences have targets of their own. */
  readonly targets: boolean;
}

/** The methods of the thread. */
export type SequenceWorker = typeof methods;

serve(methods, 'the data worker failed');
