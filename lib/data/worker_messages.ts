import type { ErrorCode } from '../errors';
import type { BatchRequest } from './dataset';
import type { SplitName } from './rows';
import type { TextOptions } from './text_source';
import type { TokenOptions } from './tokens/token_source';

/** What the main thread asks the data worker for. */
export type WorkerRequest =
  | { readonly kind: 'open'; readonly options: TextOptions }
  | { readonly kind: 'openTokens'; readonly options: TokenOptions }
  | { readonly kind: 'crops'; readonly split: SplitName; readonly request: BatchRequest }
  | {
      readonly kind: 'windows';
      readonly split: SplitName;
      readonly index: number;
      readonly rows: number;
      readonly batches: number;
    };

/** What a worker thread answers: first any number of progress reports, then a result or an error. */
export interface WorkerReply {
  readonly id: number;
  readonly progress?: { readonly done: number; readonly total: number };
  readonly result?: unknown;
  readonly error?: {
    readonly code: ErrorCode;
    readonly message: string;
    readonly details?: Readonly<Record<string, unknown>>;
  };
}
