import path from 'node:path';
import { TesseraeError } from '../errors';
import { parseJsonMaps, type StrictJson } from '../files/json';
import { whyNotJson } from '../files/recognise_file';
import { isFile } from '../files/regular_file';
import { files } from './files';
import { readSafetensors, type SafetensorsFile } from './safetensors';

export const WEIGHTS = 'model.safetensors';
/** The index of weights in several files (shards): it maps each tensor to its file. */
export const WEIGHTS_INDEX = 'model.safetensors.index.json';

/** Open files that hold the tensors of a model between them. */
export type WeightFiles = Omit<SafetensorsFile, 'metadata'>;

/** The file that names the weights of a checkpoint, or undefined where there is none. */
export async function weightsFile(directory: string): Promise<string | undefined> {
  for (const name of [WEIGHTS, WEIGHTS_INDEX]) {
    const file = path.join(directory, name);
    if (await isFile(file)) return file;
  }
  return undefined;
}

/**
 * Opens the weights of a checkpoint and checks the structure of all files.
 *
 * @param file - model.safetensors or model.safetensors.index.json; the shards of the latter lie in its folder.
 * @throws TesseraeError `ERR_CHECKPOINT` if a file is missing or damaged, or if the shards don't match the index.
 */
export async function openWeights(file: string): Promise<WeightFiles> {
  return path.basename(file) === WEIGHTS_INDEX ? openShards(file) : readSafetensors(file);
}

async function openShards(index: string): Promise<WeightFiles> {
  const placed = await readIndex(index);
  const shards = new Map<string, SafetensorsFile>();
  const close = async (): Promise<void> => {
    for (const shard of shards.values()) await shard.close();
  };
  try {
    for (const name of new Set(placed.values()))
      shards.set(name, await readSafetensors(path.join(path.dirname(index), name)));
    const holders = new Map<string, SafetensorsFile>();
    for (const [name, shard] of shards) {
      for (const tensor of shard.tensors.keys()) {
        if (placed.get(tensor) !== name)
          throw wrongIndex(index, `'${name}' has ${quoted(tensor)}, but the index does not list it there`);
        holders.set(tensor, shard);
      }
    }
    for (const [tensor, name] of placed)
      if (!holders.has(tensor)) throw wrongIndex(index, `'${name}' lacks ${quoted(tensor)}`);
    return {
      tensors: new Map([...shards.values()].flatMap(({ tensors }) => [...tensors])),
      readFloat32: async (tensor) => {
        const shard = holders.get(tensor);
        if (!shard) throw wrongIndex(index, `no file has ${quoted(tensor)}`);
        return shard.readFloat32(tensor);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The index's names of tensors → names of files. */
async function readIndex(index: string): Promise<ReadonlyMap<string, string>> {
  let root: StrictJson;
  try {
    root = parseJsonMaps(await files.readText(index));
  } catch (cause) {
    throw wrongIndex(index, await whyNotJson(index, cause));
  }
  const placed = root instanceof Map ? root.get('weight_map') : undefined;
  if (!(placed instanceof Map) || placed.size === 0)
    throw wrongIndex(index, 'weight_map must be an object of file names');
  for (const [tensor, name] of placed) {
    // Nothing outside the folder: an index comes with the weights, from wherever they come.
    if (typeof name !== 'string' || !/^\w[\w.-]{0,200}\.safetensors$/.test(name))
      throw wrongIndex(
        index,
        `${quoted(tensor)} must be in a .safetensors file of the same folder, not in ` +
          (typeof name === 'string' ? quoted(name) : 'a value that is not text'),
      );
  }
  if (new Set(placed.values()).size > MOST_SHARDS)
    throw wrongIndex(index, `it names more than ${MOST_SHARDS} files`);
  return placed as ReadonlyMap<string, string>;
}

/** All are open at once; a process may usually open 1,024. */
const MOST_SHARDS = 500;

const quoted = (name: string): string => JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}…` : name);

function wrongIndex(file: string, what: string): TesseraeError {
  return new TesseraeError('ERR_CHECKPOINT', `'${file}' does not fit its folder: ${what}`, {
    details: { file },
  });
}
