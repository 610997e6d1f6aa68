import { setImmediate } from 'node:timers/promises';
import type { Dataset } from '../../../../lib/data/dataset';
import { streamSequences, type SequenceStream } from '../../../../lib/data/sequences/stream';
import type { Sequence } from '../../../../lib/data/sequences/sequence';
import { packed } from '../../support/batches';
import { failureOf } from '../../support/errors';

const OPTIONS = { vocabSize: 1000, blockSize: 8 };

/** Sequence i is [i, i + 1]. */
async function* counting(first = 0, end = Infinity): AsyncGenerator<Sequence> {
  for (let i = first; i < end; i++) {
    await Promise.resolve();
    yield { tokens: [i, i + 1] };
  }
}

const firsts = async (train: Dataset, step: number, microStep = 0): Promise<number[]> => {
  const { tokens } = packed(await train.batch({ seed: 1, step, microStep, microSteps: 2, rows: 3 }));
  return [...tokens].filter((_, i) => i % OPTIONS.blockSize === 0);
};

describe('streamSequences', () => {
  it.each<[string, SequenceStream]>([
    ['an async iterable', counting()],
    ['a function', counting],
  ])('takes the rows of %s in order, and keeps those of the last steps', async (_, stream) => {
    await using data = streamSequences(stream, OPTIONS);
    const drawn = await Promise.all([firsts(data.train, 0), firsts(data.train, 0, 1), firsts(data.train, 1)]);
    expect(drawn).toEqual([
      [0, 1, 2],
      [3, 4, 5],
      [6, 7, 8],
    ]);
    expect(await firsts(data.train, 1, 1)).toEqual([9, 10, 11]);
    expect(await firsts(data.train, 1)).toEqual([6, 7, 8]);
  });

  it('calls a function with the sequence at which a run resumes', async () => {
    const begun: number[] = [];
    const stream = (first: number): AsyncGenerator<Sequence> => {
      begun.push(first);
      return counting(first);
    };
    await using data = streamSequences(stream, OPTIONS);
    expect(await firsts(data.train, 10)).toEqual([60, 61, 62]);
    expect(await firsts(data.train, 10, 1)).toEqual([63, 64, 65]);
    expect(begun).toEqual([60]);
  });

  it("says that another stream can't be replayed", async () => {
    await using data = streamSequences(counting(), OPTIONS);
    const failure = await failureOf('ERR_DATA', () => firsts(data.train, 10));
    expect(failure.message).toMatch(
      /at sequence 0, but the run needs sequence 60, .* give a function \(first\) => AsyncIterable/,
    );
  });

  it('says when the stream ends before the run', async () => {
    await using data = streamSequences(counting(0, 7), OPTIONS);
    await firsts(data.train, 0);
    await firsts(data.train, 0, 1);
    const failure = await failureOf('ERR_DATA', () => firsts(data.train, 1));
    expect(failure.message).toMatch(/ended after 7 sequences, but the run needs 9 now: lower maxSteps/);
  });

  it('names the sequence that is wrong', async () => {
    await using data = streamSequences(
      (async function* () {
        yield* counting(0, 2);
        yield { tokens: [5, 1000] };
      })(),
      OPTIONS,
    );
    const failure = await failureOf('ERR_DATA', () => firsts(data.train, 0));
    expect(failure.message).toMatch(/^sequence 2 of the stream has tokens\[1\] 1000/);
  });

  it('wants targets in all sequences or in none', async () => {
    await using data = streamSequences(counting(), { ...OPTIONS, targets: true });
    expect(data.train.predictsNext).toBe(false);
    const failure = await failureOf('ERR_DATA', () => firsts(data.train, 0));
    expect(failure.message).toMatch(
      /sequence 0 of the stream has no targets, but the option targets is true/,
    );
  });

  it('passes on what the stream throws', async () => {
    await using data = streamSequences(
      // eslint-disable-next-line require-yield
      (async function* (): AsyncGenerator<Sequence> {
        await Promise.resolve();
        throw new Error('the line is cut');
      })(),
      OPTIONS,
    );
    await expect(firsts(data.train, 0)).rejects.toThrow('the line is cut');
  });

  it('ends the stream when it is closed', async () => {
    let ended = false;
    const data = streamSequences(
      (async function* () {
        try {
          yield* counting();
        } finally {
          ended = true;
        }
      })(),
      OPTIONS,
    );
    await firsts(data.train, 0);
    await data.close();
    await setImmediate();
    expect(ended).toBe(true);
    await failureOf('ERR_DISPOSED', () => firsts(data.train, 0, 1));
  });

  it("can't evaluate, and refuses what is not a stream", async () => {
    await using data = streamSequences(counting(), OPTIONS);
    await failureOf('ERR_CONFIG', async () => {
      for await (const _ of data.train.evaluationBatches(1, 1)) break;
    });
    await failureOf('ERR_CONFIG', () => streamSequences([{ tokens: [1] }] as never, OPTIONS));
    await failureOf('ERR_CONFIG', () => streamSequences(counting(), { ...OPTIONS, vocabSize: 0 }));
  });
});
