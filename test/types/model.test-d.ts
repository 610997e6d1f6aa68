import { expectTypeOf } from 'expect-type';
import {
  Model,
  TesseraeError,
  type Device,
  type ErrorCode,
  type FloatTensor,
  type GPT2Options,
  type ModelConfig,
  type ModelOptions,
  type Padding,
  type Precision,
  type ResolvedModelConfig,
} from '../../lib';

export async function aModelIsMadeOfATypedConfiguration(): Promise<void> {
  using model = await Model.create({ type: 'gpt2', nLayer: 2, nEmbd: 64, nHead: 4 }, { device: 'cuda:1' });
  expectTypeOf(model).toEqualTypeOf<Model>();
  expectTypeOf(model.config).toEqualTypeOf<ResolvedModelConfig>();
  expectTypeOf(model.logits([[1, 2], Int32Array.of(3, 4)])).toEqualTypeOf<Promise<FloatTensor>>();
  expectTypeOf(model.logits(Int32Array.of(1, 2), { types: [[0, 1]] })).resolves.toEqualTypeOf<FloatTensor>();

  // @ts-expect-error the family decides what the settings are
  await Model.create({ nLayer: 2 });
  // @ts-expect-error there is no such family
  await Model.create({ type: 'gpt3' });
  // @ts-expect-error another library's name of nEmbd
  await Model.create({ type: 'gpt2', hiddenSize: 64 });
  // @ts-expect-error text is no number
  await Model.create({ type: 'gpt2', nLayer: '2' });
  // @ts-expect-error no such device
  await Model.create({ type: 'gpt2' }, { device: 'gpu' });
  // @ts-expect-error no such option
  await Model.create({ type: 'gpt2' }, { dtype: 'bf16' });
  // @ts-expect-error what was made is not changed
  model.config.nLayer = 3;
  // @ts-expect-error rows are numbers, not text
  await model.logits(['Call me']);
}

export function theFamilyTellsModelsApart(config: ModelConfig, resolved: ResolvedModelConfig): void {
  expectTypeOf<'gpt2'>().toExtend<typeof config.type>();
  expectTypeOf<string>().not.toExtend<typeof config.type>();
  expectTypeOf<Omit<Extract<ModelConfig, { type: 'gpt2' }>, 'type'>>().toEqualTypeOf<
    Omit<GPT2Options, never>
  >();
  if (resolved.type === 'gpt2') {
    expectTypeOf(resolved.nInner).toEqualTypeOf<number>();
    expectTypeOf(resolved.bosTokenId).toEqualTypeOf<number | null>();
  }
  expectTypeOf<ResolvedModelConfig>().toExtend<ModelConfig>();
  expectTypeOf<ModelConfig>().not.toExtend<ResolvedModelConfig>();
}

export function optionsAreThereOrNot(): void {
  expectTypeOf<Required<ModelOptions>['precision']>().toEqualTypeOf<'fp32' | 'tf32' | 'fp16' | 'bf16'>();
  expectTypeOf<Required<ModelOptions>>().toEqualTypeOf<{
    readonly device: Device;
    readonly devices: readonly `cpu:${number}`[];
    readonly strategy: 'ddp';
    readonly precision: Precision;
    readonly seed: number;
    readonly threads: number;
    readonly padding: Padding;
  }>();
  // @ts-expect-error with exactOptionalPropertyTypes what is not given is left out
  expectTypeOf<{ seed: undefined }>().toExtend<ModelOptions>();
}

export function codesAreAUnion(error: unknown): string {
  if (!(error instanceof TesseraeError)) return '';
  expectTypeOf(error.code).toEqualTypeOf<ErrorCode>();
  expectTypeOf<string>().not.toExtend<ErrorCode>();
  expectTypeOf(error.details).toEqualTypeOf<Readonly<Record<string, unknown>>>();
  switch (error.code) {
    case 'ERR_CONFIG':
    case 'ERR_SHAPE':
    case 'ERR_DATA':
    case 'ERR_DEVICE':
    case 'ERR_OUT_OF_MEMORY':
    case 'ERR_CHECKPOINT':
    case 'ERR_BUSY':
    case 'ERR_DISTRIBUTED':
    case 'ERR_DISPOSED':
    case 'ERR_NON_FINITE':
    case 'ERR_NATIVE_LOAD':
    case 'ERR_INTERNAL':
      return error.code;
    default:
      return expectTypeOf(error.code).toBeNever() as never;
  }
}
