import type { ErrorCode } from '../errors';

/** To a thread: a call of a served method, or the result of a caller's function. */
export type ToThread =
  | {
      readonly kind: 'call';
      readonly id: number;
      readonly method: string;
      /** Functions can't be sent: undefined replaces them. */
      readonly args: unknown[];
      /** Places of the arguments that are functions. */
      readonly functions: readonly number[];
    }
  | { readonly kind: 'called'; readonly id: number; readonly result?: unknown; readonly failed: boolean };

/** From a thread: how a call ended, or a call of a function that was an argument of call `of`. */
export type FromThread =
  | { readonly kind: 'returned'; readonly id: number; readonly result: unknown }
  | { readonly kind: 'threw'; readonly id: number; readonly error: ErrorMessage }
  | {
      readonly kind: 'callFunction';
      readonly id: number;
      readonly of: number;
      readonly place: number;
      readonly args: unknown[];
    };

/** A TesseraeError on its way between threads. */
export interface ErrorMessage {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}
