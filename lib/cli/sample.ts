import { loadModel } from '../checkpoint/checkpoint';
import { TesseraeError } from '../errors';
import type { Device } from '../models/device';
import type { GenerateOptions } from '../sampling/options';
import { Sampler } from '../sampling/sampler';
import { Interrupt } from './interrupt';
import { safeFor } from './terminal';

/** What the command line says. */
export interface SampleCommand extends Pick<
  GenerateOptions,
  'maxNewTokens' | 'temperature' | 'seed' | 'topK' | 'topP' | 'minP' | 'repetitionPenalty' | 'stop'
> {
  readonly prompt: string;
  readonly weights: 'trained' | 'ema';
  readonly device: string;
  readonly threads?: number;
}

/** `tesserae sample`: continues a text with a trained model. Gives the exit code. */
export async function sample(folder: string, command: SampleCommand): Promise<number> {
  const { prompt, weights, device, threads, ...options } = command;
  const { model, tokenizer } = await loadModel(folder, {
    device: device as Device,
    weights,
    ...(threads === undefined ? {} : { threads }),
  });
  using _model = model;
  using interrupt = new Interrupt(() => undefined);
  if (!tokenizer)
    throw new TesseraeError(
      'ERR_CHECKPOINT',
      `the checkpoint in ${folder} names no tokenizer, which text needs`,
      {
        details: { path: folder },
      },
    );
  process.stdout.write(prompt);
  for await (const { text } of new Sampler(model, tokenizer).stream(prompt, options)) {
    if (interrupt.requested) break;
    process.stdout.write(safeFor(process.stdout, text));
  }
  process.stdout.write('\n');
  return interrupt.exitCode;
}
