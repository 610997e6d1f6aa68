import { exhaustedError, isExhausted, TesseraeError } from '../../lib/errors';
import { retried } from '../../lib/files/retried';
import { failureOf } from './support/errors';
import { tinyModel, disposeModels } from './support/tiny_model';

afterEach(disposeModels);

const failing = (code: string): Error => Object.assign(new Error(`${code}: it failed`), { code });

/** What JavaScript throws if an array does not fit in memory. */
function allocationFailure(): unknown {
  try {
    return new Float64Array(2 ** 45);
  } catch (error) {
    return error;
  }
}

it.each([
  ['EMFILE', 'ERR_DEVICE', /ulimit -n/],
  ['ENFILE', 'ERR_DEVICE', /fs\.file-max/],
  ['EAGAIN', 'ERR_DEVICE', /ulimit -u/],
  ['ERR_WORKER_INIT_FAILED', 'ERR_DEVICE', /threads/],
  ['ENOMEM', 'ERR_OUT_OF_MEMORY', /memory/],
  ['ERR_WORKER_OUT_OF_MEMORY', 'ERR_OUT_OF_MEMORY', /max-old-space-size/],
] as const)('%s is %s, and says what to do', (code, expected, message) => {
  const cause = failing(code);
  expect(exhaustedError("'a' could not be read", cause)).toMatchObject({
    code: expected,
    message: expect.stringMatching(message) as string,
    cause,
  });
});

it('an array that does not fit in memory is ERR_OUT_OF_MEMORY', () => {
  expect(exhaustedError('it failed', allocationFailure())?.code).toBe('ERR_OUT_OF_MEMORY');
});

it('other errors are not reported as exhaustion', () => {
  const coded = new TesseraeError('ERR_DATA', 'wrong', { cause: failing('EMFILE') });
  for (const other of [
    failing('ENOSPC'),
    failing('toString'),
    new RangeError('out of range'),
    coded,
    undefined,
  ])
    expect(isExhausted(other)).toBe(false);
});

describe('retried', () => {
  it('retries a call that failed because files were used up', async () => {
    let tries = 0;
    const work = (): Promise<string> =>
      ++tries < 3 ? Promise.reject(failing('EMFILE')) : Promise.resolve('done');
    expect(await retried(work)).toBe('done');
  });

  it('retries nothing else', async () => {
    let tries = 0;
    const work = (): Promise<string> => Promise.reject(failing(`ENOSPC${++tries}`));
    await expect(retried(work)).rejects.toThrow('ENOSPC1');
    expect(tries).toBe(1);
  });
});

it('a tensor that the host has no memory for is ERR_OUT_OF_MEMORY', async () => {
  const { native } = await tinyModel();
  const name = native.info.parameters[0]?.name ?? '';
  jest.spyOn(native.info.parameters[0]!.shape, 'reduce').mockReturnValue(2 ** 45);
  await failureOf('ERR_OUT_OF_MEMORY', () => native.readTensor('parameter', name));
});
