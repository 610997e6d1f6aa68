import type { ErrorCode } from '../errors';
import type { Rotation } from './run_folder';

/** A checkpoint as the writing thread is told of it: tensors by name and shape, their values on request. */
export interface CheckpointMessage {
  readonly directory: string;
  readonly names: readonly string[];
  readonly files: readonly (readonly [
    name: string,
    contents: string | readonly { readonly name: string; readonly shape: readonly number[] }[],
  ])[];
  readonly rotation?: Rotation | undefined;
}

/** An error on its way between threads. */
export interface ErrorMessage {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** To the writing thread; `id` is the checkpoint's. */
export type WriterRequest =
  | { readonly kind: 'write'; readonly id: number; readonly checkpoint: CheckpointMessage }
  | { readonly kind: 'values'; readonly id: number; readonly values: Float32Array }
  | { readonly kind: 'unreadable'; readonly id: number };

/** From the writing thread: it asks for the values of a tensor, by file and place, or is done. */
export type WriterReply =
  | { readonly kind: 'read'; readonly id: number; readonly file: number; readonly tensor: number }
  | { readonly kind: 'done'; readonly id: number; readonly error?: ErrorMessage };
