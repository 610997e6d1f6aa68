/** The worker thread that reads sequences and makes batches of them; `sequences.ts` and `stream.ts` are its other end. */
import { TesseraeError } from '../../errors';
import type { BatchRequest } from '../dataset';
import type { SplitName } from '../rows';
import { serve } from '../worker_server';
import { JsonlStore } from './jsonl_store';
import { checkSequence, type SequenceRules } from './sequence';
import { batchOf, SequenceSource, type BatchingRules, type BatchMessage } from './source';
import { MemoryStore, refusal } from './store';

/** What the main thread asks. Sequences in memory are added first, and opened then. */
export type SequenceRequest =
  | { readonly kind: 'add'; readonly rules: SequenceRules; readonly sequences: readonly unknown[] }
  | { readonly kind: 'open'; readonly rules: BatchingRules; readonly paths?: readonly string[] }
  | { readonly kind: 'batch'; readonly split: SplitName; readonly request: BatchRequest }
  | {
      readonly kind: 'evaluation';
      readonly split: SplitName;
      readonly index: number;
      readonly rows: number;
      readonly batches: number;
    }
  | StreamRequest;

/** A batch of a stream: its next sequences. */
interface StreamRequest {
  readonly kind: 'rows';
  readonly rules: SequenceRules;
  /** Whether sequences have targets of their own. */
  readonly targets: boolean;
  readonly sequences: readonly unknown[];
  /** Number of the first of them. */
  readonly first: number;
}

let memory: MemoryStore | undefined;
let source: SequenceSource | undefined;

function answer(request: SequenceRequest): unknown {
  switch (request.kind) {
    case 'add':
      memory ??= new MemoryStore(request.rules);
      return memory.add(request.sequences);
    case 'open': {
      const { rules, paths } = request;
      source = new SequenceSource(
        paths ? JsonlStore.open(paths, rules) : (memory ?? new MemoryStore(rules)),
        rules,
      );
      return source.facts;
    }
    case 'batch':
      return opened().batch(request.split, request.request);
    case 'evaluation':
      return opened().evaluation(request.split, request.index, request.rows, request.batches);
    case 'rows':
      return streamed(request);
  }
}

function streamed({ rules, targets, sequences, first }: StreamRequest): BatchMessage {
  const rows = sequences.map((value, i) => {
    const refuse = refusal(`sequence ${first + i} of the stream`, { sequence: first + i });
    const { values, hasTargets } = checkSequence(value, rules, refuse);
    if (hasTargets !== targets)
      refuse(
        `has ${hasTargets ? '' : 'no '}targets, but the option targets is ${targets}: change one of them`,
      );
    return [values];
  });
  return batchOf(rows, rules, { packed: false });
}

function opened(): SequenceSource {
  if (!source) throw new TesseraeError('ERR_INTERNAL', 'the data worker was asked for rows before sequences');
  return source;
}

serve(answer, (result) => {
  const { arrays } = (result ?? {}) as Partial<BatchMessage>;
  return Object.values(arrays ?? {}).map(({ buffer }) => buffer);
});
