import path from 'node:path';
import { writeDirectory } from './atomic_directory';
import { writeText, type WrittenFile } from './durable_file';
import { MANIFEST, manifestText } from './manifest';
import { nextSave, rotateCheckpoints, type Rotation } from './run_folder';
import { bytesOf, writeSafetensors, type TensorSource } from './safetensors';

/** A checkpoint to write. */
export interface UnwrittenCheckpoint {
  readonly directory: string;
  /** All files that a checkpoint may have. A folder with other files is not replaced. */
  readonly names: readonly string[];
  /** Name and contents of each file except the manifest, in the order of writing. */
  readonly files: readonly (readonly [name: string, contents: string | readonly TensorSource[]])[];
  /** What to remove from the folder of the run afterwards. Default: nothing. */
  readonly rotation?: Rotation | undefined;
}

/** Bytes of its tensors; what else it has is little. */
export const checkpointBytes = ({ files }: UnwrittenCheckpoint): number =>
  bytesOf(files.flatMap(([, contents]) => (typeof contents === 'string' ? [] : contents)));

/**
 * Writes a checkpoint completely or not at all, its manifest last; then removes older ones.
 *
 * @throws TesseraeError `ERR_CHECKPOINT` if a file can't be written, read back or removed.
 */
export async function writeCheckpoint(checkpoint: UnwrittenCheckpoint): Promise<void> {
  const { directory, names, files, rotation } = checkpoint;
  const write = async (temporary: string): Promise<void> => {
    const written: Record<string, WrittenFile> = {};
    for (const [name, contents] of files) {
      const file = path.join(temporary, name);
      written[name] =
        typeof contents === 'string'
          ? await writeText(file, contents)
          : await writeSafetensors(file, contents);
    }
    const save = await nextSave(path.dirname(path.resolve(directory)));
    await writeText(path.join(temporary, MANIFEST), manifestText(written, save));
  };
  await writeDirectory(directory, names, write, checkpointBytes(checkpoint));
  if (rotation) await rotateCheckpoints(rotation, directory);
}
