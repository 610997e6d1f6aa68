import { TesseraeError, type ErrorCode } from '../../../lib/errors';

/** What `call` throws or rejects with; fails unless it is a TesseraeError of this code. */
export async function failureOf(code: ErrorCode, call: () => unknown): Promise<TesseraeError> {
  let failure: unknown;
  try {
    await call();
  } catch (error) {
    failure = error;
  }
  if (!(failure instanceof TesseraeError)) throw new Error(`expected ${code}, but got ${String(failure)}`);
  expect(`${failure.code}: ${failure.message}`).toMatch(new RegExp(`^${code}: `));
  return failure;
}
