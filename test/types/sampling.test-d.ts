import { expectTypeOf } from 'expect-type';
import {
  loadModel,
  Sampler,
  type FinishReason,
  type GeneratedToken,
  type GenerateOptions,
  type Generation,
  type LoadedModel,
  type MaskedSequence,
  type Tokenizer,
} from '../../lib';

export async function onePromptGivesOneTextAndSeveralGiveSeveral(sampler: Sampler): Promise<void> {
  expectTypeOf(sampler.generate('Call me')).toEqualTypeOf<Promise<Generation>>();
  expectTypeOf(sampler.generate(Int32Array.of(1, 2))).toEqualTypeOf<Promise<Generation>>();
  expectTypeOf(sampler.generate([1, 2])).toEqualTypeOf<Promise<Generation>>();
  expectTypeOf(sampler.generate(['Call me', [1, 2]])).toEqualTypeOf<Promise<Generation[]>>();
  expectTypeOf(sampler.generate([])).toEqualTypeOf<Promise<Generation[]>>();
  const { text, tokens, logprobs, finishReason } = await sampler.generate('Call me', { seed: 1 });
  expectTypeOf(text).toEqualTypeOf<string>();
  expectTypeOf(tokens).toEqualTypeOf<Int32Array>();
  expectTypeOf(logprobs).toEqualTypeOf<Float32Array | undefined>();
  expectTypeOf(finishReason).toEqualTypeOf<'eos' | 'stop' | 'length' | 'abort'>();

  // @ts-expect-error an option of another library
  await sampler.generate('Call me', { maxTokens: 10 });
  // @ts-expect-error biases are a Map: keys of objects are text
  await sampler.generate('Call me', { logitBias: { 5: 1 } });
  // @ts-expect-error types are by token or by position
  await sampler.generate('Call me', { types: [0, 1] });
  // @ts-expect-error what was generated is not changed
  (await sampler.generate('Call me')).text = '';
}

export async function streamsYieldTokensAndReturnWhyTheyEnd(sampler: Sampler): Promise<void> {
  const stream = sampler.stream('Call me');
  expectTypeOf(stream).toEqualTypeOf<AsyncGenerator<GeneratedToken, FinishReason, void>>();
  for await (const token of stream) expectTypeOf(token).toEqualTypeOf<GeneratedToken>();
  const { done, value } = await stream.next();
  if (done) expectTypeOf(value).toEqualTypeOf<FinishReason>();
  else expectTypeOf(value).toEqualTypeOf<GeneratedToken>();
  // @ts-expect-error a stream is of one prompt
  sampler.stream(['Call me', 'It was']);
}

export function masksAreWordsOfABatch(): void {
  expectTypeOf<NonNullable<GenerateOptions['tokenMask']>>()
    .parameter(0)
    .toEqualTypeOf<readonly MaskedSequence[]>();
  expectTypeOf<NonNullable<GenerateOptions['tokenMask']>>().returns.toEqualTypeOf<Uint32Array>();
}

export async function aCheckpointMayHaveNoTokenizer(): Promise<void> {
  const loaded = await loadModel('runs/book', { weights: 'ema' });
  expectTypeOf(loaded).toEqualTypeOf<LoadedModel>();
  expectTypeOf(loaded.tokenizer).toEqualTypeOf<Tokenizer | undefined>();
  const sampler = new Sampler(loaded.model, loaded.tokenizer);
  expectTypeOf(sampler.tokenizer).toEqualTypeOf<Tokenizer>();
  // @ts-expect-error no such weights
  await loadModel('runs/book', { weights: 'best' });
}
