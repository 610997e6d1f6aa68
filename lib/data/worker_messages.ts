import type { ErrorCode } from '../errors';
import type { BatchRequest } from './dataset';
import type { SplitName, TextOptions } from './text_source';

/** What the main thread asks the data worker for. */
export type WorkerRequest =
  | { readonly kind: 'open'; readonly options: TextOptions }
  | { readonly kind: 'crops'; readonly split: SplitName; readonly request: BatchRequest }
  | {
      readonly kind: 'windows';
      readonly split: SplitName;
      readonly index: number;
      readonly rows: number;
      readonly batches: number;
    };

export interface WorkerReply {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: {
    readonly code: ErrorCode;
    readonly message: string;
    readonly details?: Readonly<Record<string, unknown>>;
  };
}
