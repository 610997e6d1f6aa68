import { existsSync } from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { TesseraeError } from '../errors';
import { readTextFile } from '../files/regular_file';
import { filePath, filePaths } from '../models/argument_schemas';
import { parseConfig } from '../models/validation';
import { writeDirectory } from './atomic_directory';
import { CONFIG, findCheckpoint, WEIGHTS } from './checkpoint';
import { configText, readConfig, type CheckpointConfig } from './config_file';
import { writeText } from './durable_file';
import { MANIFEST, readManifest, verifyFiles } from './manifest';
import { goodCheckpoints } from './run_folder';
import { readSafetensors, writeSafetensors, type SafetensorsFile, type TensorSource } from './safetensors';
import { TOKENIZER_FILES } from './tokenizer_files';

/** The result of averageCheckpoints. */
export interface AveragedCheckpoints {
  /** The folder that was written. */
  readonly directory: string;
  /** The averaged checkpoints; newest first if they come from a run. */
  readonly checkpoints: readonly string[];
  /** The errors of later checkpoints of the run, which were skipped because they are damaged. */
  readonly damaged: readonly TesseraeError[];
}

/** The limit of lib/data/json_tokenizer.ts; the largest tokenizers in use have 33 MB. */
const MOST_TOKENIZER_BYTES = 2 ** 28;

const optionsSchema = z.strictObject({ last: z.int().min(2).optional() });

/**
 * Writes a model whose weights are the arithmetic mean of those of several checkpoints, added in fp64 (Vaswani et al. 2017,
 * section 6.1, averaged their last 5 or 20). Name, step and tokenizer are those of the first; optimizer states are not
 * averaged: you can sample, evaluate and fine-tune the model, but not resume it. One tensor at a time is in memory.
 *
 * @param source - the folder of a run, whose last checkpoints are averaged, or a list of checkpoints (for a run in the list,
 * its latest checkpoint).
 * @param output - the folder to write, completely or not at all.
 * @param options - `last`: number of checkpoints of the run, at least 2. Required for a run, not allowed for a list.
 * @throws TesseraeError `ERR_CHECKPOINT` if there are fewer, if their models differ (in names, shapes or configuration), or if
 * one is missing or damaged; `ERR_CONFIG` for a wrong `last` or fewer than two checkpoints.
 *
 * @example
 * await averageCheckpoints('runs/book', 'runs/book-average', { last: 5 });
 */
export async function averageCheckpoints(
  source: string | readonly string[],
  output: string,
  options: { readonly last?: number } = {},
): Promise<AveragedCheckpoints> {
  parseConfig(filePaths, source, { at: 'source' });
  parseConfig(filePath, output, { at: 'output' });
  const { last } = parseConfig(optionsSchema, options);
  const { checkpoints, damaged } = await chosen(source, last);
  const first = checkpoints[0] ?? '';
  const config = await readConfig(path.join(first, CONFIG));
  for (const other of checkpoints.slice(1))
    requireSameModel(first, config, other, await readConfig(path.join(other, CONFIG)));
  const files: SafetensorsFile[] = [];
  try {
    for (const directory of checkpoints) files.push(await readSafetensors(path.join(directory, WEIGHTS)));
    const tensors = means(files, checkpoints);
    await writeDirectory(output, [CONFIG, WEIGHTS, ...TOKENIZER_FILES], async (temporary) => {
      await writeSafetensors(path.join(temporary, WEIGHTS), tensors);
      for (const name of TOKENIZER_FILES) {
        const file = path.join(first, name);
        if (existsSync(file))
          await writeText(path.join(temporary, name), await readTextFile(file, MOST_TOKENIZER_BYTES));
      }
      await writeText(path.join(temporary, CONFIG), configText(config));
    });
  } finally {
    for (const file of files) await file.close();
  }
  return { directory: output, checkpoints, damaged };
}

async function chosen(
  source: string | readonly string[],
  last: number | undefined,
): Promise<Omit<AveragedCheckpoints, 'directory'>> {
  const refuse = (where: string, why: string): never => {
    throw new TesseraeError('ERR_CONFIG', `${where} ${why}`, { details: { path: where } });
  };
  if (typeof source !== 'string') {
    if (last !== undefined)
      refuse(
        'last',
        'works only with the folder of a run: leave it out, or pass the folder of the run instead of checkpoints',
      );
    if (source.length < 2) refuse('source', `has ${source.length} checkpoints: a mean needs at least two`);
    const checkpoints: string[] = [];
    for (const directory of source) {
      const found = await findCheckpoint(directory);
      if (existsSync(path.join(found, MANIFEST)))
        await verifyFiles(found, await readManifest(found), [CONFIG, WEIGHTS]);
      checkpoints.push(found);
    }
    const twice = checkpoints.find((one, i) => checkpoints.indexOf(one) !== i);
    if (twice !== undefined) refuse('source', `has '${twice}' twice: name each checkpoint once`);
    return { checkpoints, damaged: [] };
  }
  if (last === undefined)
    return refuse('last', 'must be an integer of at least 2, the number of checkpoints to average');
  const { directories, damaged } = await goodCheckpoints(source, last);
  if (directories.length < last)
    throw new TesseraeError(
      'ERR_CHECKPOINT',
      `'${source}' holds ${directories.length} complete checkpoints, fewer than the ${last} to average: average fewer, or keep ` +
        'more with saveTotalLimit',
      { details: { directory: source, damaged: damaged.map(({ message }) => message) } },
    );
  return { checkpoints: directories, damaged };
}

function requireSameModel(
  first: string,
  { model: wanted }: CheckpointConfig,
  other: string,
  { model }: CheckpointConfig,
): void {
  const [a, b] = [wanted, model].map((config) => config as unknown as Readonly<Record<string, unknown>>);
  const different = Object.keys({ ...a, ...b }).filter((name) => !isDeepStrictEqual(a?.[name], b?.[name]));
  if (different.length > 0)
    throw mismatch(other, `its model differs from that of '${first}' in ${different.join(', ')}`);
}

/** The mean of each tensor, computed when it is written. */
function means(files: readonly SafetensorsFile[], names: readonly string[]): TensorSource[] {
  const [first] = files;
  if (!first) return [];
  files.forEach(({ tensors }, i) => {
    const directory = names[i] ?? '';
    for (const key of new Set([...first.tensors.keys(), ...tensors.keys()])) {
      const [a, b] = [first.tensors.get(key), tensors.get(key)];
      if (!a || !b) throw mismatch(directory, `only one of it and '${names[0] ?? ''}' has '${key}'`);
      if (a.shape.join() !== b.shape.join())
        throw mismatch(
          directory,
          `'${key}' is [${b.shape.join(', ')}] there, and [${a.shape.join(', ')}] in '${names[0] ?? ''}'`,
        );
    }
  });
  return Array.from(first.tensors, ([name, { shape }]) => ({
    name,
    shape,
    read: async () => {
      const sum = new Float64Array(shape.reduce((a, b) => a * b, 1));
      for (const file of files) {
        const values = await file.readFloat32(name);
        for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + (values[i] ?? 0);
      }
      return Float32Array.from(sum, (value) => value / files.length);
    },
  }));
}

function mismatch(directory: string, what: string): TesseraeError {
  return new TesseraeError('ERR_CHECKPOINT', `'${directory}' can't be averaged with the others: ${what}`, {
    details: { directory },
  });
}
