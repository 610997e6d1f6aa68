/**
 * The stable codes of every error that tesserae throws; `native/runtime/error.h` has the native ones.
 *
 * - `ERR_CONFIG`: a value in a configuration or an option; `details.path` names it.
 * - `ERR_SHAPE`: tensors whose shapes do not fit together.
 * - `ERR_DATA`: contents of a file or a batch, such as a token id out of range.
 * - `ERR_DEVICE`: a device that is not there or can't do what is asked; threads and open files that the system does not let the
 *   process have.
 * - `ERR_OUT_OF_MEMORY`: a device, the process or a thread has too little memory.
 * - `ERR_CHECKPOINT`: a checkpoint that is damaged, or belongs to another model or other arguments.
 * - `ERR_BUSY`: a second call on an object that is running one.
 * - `ERR_DISPOSED`: use after `dispose()`.
 * - `ERR_DISTRIBUTED`: the ranks of a model no longer work together, because one of them failed in a step.
 * - `ERR_NON_FINITE`: a loss or a gradient that is infinite or NaN.
 * - `ERR_NATIVE_LOAD`: the native addon could not be loaded.
 * - `ERR_INTERNAL`: a mistake in tesserae itself.
 */
export type ErrorCode =
  | 'ERR_CONFIG'
  | 'ERR_SHAPE'
  | 'ERR_DATA'
  | 'ERR_DEVICE'
  | 'ERR_OUT_OF_MEMORY'
  | 'ERR_CHECKPOINT'
  | 'ERR_BUSY'
  | 'ERR_DISPOSED'
  | 'ERR_DISTRIBUTED'
  | 'ERR_NON_FINITE'
  | 'ERR_NATIVE_LOAD'
  | 'ERR_INTERNAL';

/**
 * What tesserae throws for everything that a user can cause. Compare by `code`: messages may be improved in any
 * release, codes are stable.
 */
export class TesseraeError extends Error {
  /** The stable code. */
  readonly code: ErrorCode;
  /**
   * Facts for programs, which depend on the error: `path` and `issues` (of a configuration), `file`, `line` and `column`,
   * `directory`, `step`, `row`, `device`; docs/tool_builders.md lists them by code. Empty if there are none.
   */
  readonly details: Readonly<Record<string, unknown>>;

  /**
   * Create one in code that extends the library, such as your own Dataset: it is reported like the library's errors.
   *
   * @param code - the stable code.
   * @param message - names the value, what is allowed and what to do.
   * @param options - `details`: facts for programs, by default none; `cause`: the error behind this one.
   */
  constructor(
    code: ErrorCode,
    message: string,
    options: { details?: Record<string, unknown>; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'TesseraeError';
    this.code = code;
    this.details = options.details ?? {};
  }
}

/** The message of an error, or any other thrown value as text. */
export function messageOf(cause: unknown): string {
  try {
    return cause instanceof Error ? cause.message : String(cause);
  } catch {
    // Anything may be thrown, even a value that throws when it is read.
    return 'something was thrown that has no text';
  }
}

/** Which resource is used up, by the code of the system or of Node.js, and what to do about it. */
const EXHAUSTED: Readonly<Record<string, readonly [code: ErrorCode, what: string]>> = {
  EMFILE: ['ERR_DEVICE', 'the process has too many files open: raise its limit (ulimit -n)'],
  ENFILE: ['ERR_DEVICE', 'the machine has too many files open: close some, or raise its limit (fs.file-max)'],
  EAGAIN: ['ERR_DEVICE', 'the system lets this process start nothing more: raise its limit (ulimit -u)'],
  ERR_WORKER_INIT_FAILED: [
    'ERR_DEVICE',
    "this process can't start more threads: raise its limit (ulimit -u, or that of the container)",
  ],
  ENOMEM: ['ERR_OUT_OF_MEMORY', 'the system has no memory left: free some'],
  ENOBUFS: ['ERR_OUT_OF_MEMORY', 'the system has no memory left: free some'],
  ERR_WORKER_OUT_OF_MEMORY: [
    'ERR_OUT_OF_MEMORY',
    "a thread's heap is full: raise its limit (NODE_OPTIONS=--max-old-space-size)",
  ],
  ERR_MEMORY_ALLOCATION_FAILED: ['ERR_OUT_OF_MEMORY', 'the process can get no more memory: free some'],
};

/** Whether an error says that files, threads or memory are used up; the same call may succeed later. */
export const isExhausted = (cause: unknown): boolean => exhaustion(cause) !== undefined;

/**
 * The coded error for one that says that files, threads or memory are used up.
 *
 * @param what - what could not be done, such as `'a/b' could not be read`.
 * @returns undefined for any other error.
 */
export function exhaustedError(what: string, cause: unknown): TesseraeError | undefined {
  const [code, why] = exhaustion(cause) ?? [];
  return code && new TesseraeError(code, `${what} (${messageOf(cause)}): ${why ?? ''}`, { cause });
}

function exhaustion(cause: unknown): readonly [code: ErrorCode, what: string] | undefined {
  if (cause instanceof TesseraeError) return undefined;
  if (cause instanceof RangeError && /allocation failed|Invalid typed array length/.test(cause.message))
    return EXHAUSTED['ERR_MEMORY_ALLOCATION_FAILED'];
  const { code } = (cause ?? {}) as { readonly code?: unknown };
  return typeof code === 'string' && Object.hasOwn(EXHAUSTED, code) ? EXHAUSTED[code] : undefined;
}
