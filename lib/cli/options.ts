/** What several commands' options have in common. */
import { InvalidArgumentError, Option } from 'commander';
import type { Device } from '../models/device';
import type { ModelOptions } from '../models/model';
import type { Precision } from '../native';

/** Receives the exit code of the command that ran. */
export type Done = (code: number) => void;

/** The values of `deviceOption`, `threadsOption` and `precisionOption`. */
export interface ComputeOptions {
  readonly device: string;
  readonly threads?: number | undefined;
  readonly precision?: Precision | undefined;
}

/** Where a model computes, from the command line's options. */
export const modelOptions = ({ device, threads, precision }: ComputeOptions): ModelOptions => ({
  device: device as Device,
  ...(threads === undefined ? {} : { threads }),
  ...(precision === undefined ? {} : { precision }),
});

export const deviceOption = (): Option =>
  new Option('--device <device>', 'where to compute: auto, cpu, cuda or cuda:<number>').default('auto');

export const threadsOption = (): Option =>
  new Option('--threads <n>', 'number of CPU threads (default: all processors)').argParser(integer(1));

export const precisionOption = (): Option =>
  new Option(
    '--precision <mode>',
    'precision of the arithmetic (default: bf16 on a GPU, fp32 on the CPU)',
  ).choices(['fp32', 'tf32', 'fp16', 'bf16']);

export const weightsOption = (): Option =>
  new Option(
    '--weights <which>',
    'which weights: the trained ones, or their moving average (training.emaDecay)',
  )
    .choices(['trained', 'ema'])
    .default('trained');

/** @param what - what is printed, such as "the plan as JSON". */
export const jsonOption = (what: string): Option => new Option('--json', `print ${what}`);

/** Reads an integer of at least `least`. */
export const integer =
  (least: number) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isSafeInteger(value) || value < least)
      throw new InvalidArgumentError(`It must be an integer of at least ${least}.`);
    return value;
  };

/** Reads one more integer of a list. */
export const integers =
  (least: number) =>
  (text: string, before: readonly number[] = []): number[] => [...before, integer(least)(text)];

/** Reads a number. */
export function number(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It must be a number.');
  return value;
}

/** Reads a number of at least 0. */
export function positive(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0)
    throw new InvalidArgumentError('It must be a number of at least 0.');
  return value;
}

/** Reads the name of a folder. */
export function folderName(text: string): string {
  if (text === '') throw new InvalidArgumentError('It must name a folder.');
  return text;
}

/** Reads a share in [0, 0.9]. */
export function fraction(text: string): number {
  const value = positive(text);
  if (value > 0.9) throw new InvalidArgumentError('It must be a number of at most 0.9.');
  return value;
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tb: 1e12,
  tib: 2 ** 40,
};

/** Bytes of a text such as `24GiB`. */
export function bytes(text: string): number {
  const [, digits, unit] = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text) ?? [];
  const factor = UNITS[(unit ?? '?').toLowerCase()];
  const value = Math.round(Number(digits) * (factor ?? NaN));
  if (!Number.isSafeInteger(value) || value <= 0)
    throw new InvalidArgumentError('It must be a size such as 24GiB, 512MiB or 16GB.');
  return value;
}
