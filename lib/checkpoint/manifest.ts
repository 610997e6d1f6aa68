import { createHash } from 'node:crypto';
import path from 'node:path';
import { z } from 'zod';
import { messageOf, TesseraeError } from '../errors';
import type { WrittenFile } from './durable_file';
import { files, readError, systemCode } from './files';
import { readJsonText } from './json_file';

/** The last file of a checkpoint, which lists all others. */
export const MANIFEST = 'manifest.json';

const common = {
  /** When the checkpoint was written, in ISO 8601. Only for people, because clocks may be set back. */
  saved: z.iso.datetime(),
  files: z.record(
    z.string().regex(/^[\w.-]+$/),
    z.strictObject({ bytes: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  ),
};

const schema = z.discriminatedUnion('version', [
  /** The format of releases that ordered checkpoints by `saved`. */
  z.strictObject({ version: z.literal(1), ...common }),
  z.strictObject({
    version: z.literal(2),
    /** Number of the save in the folder of its run, from 1: the checkpoint with the highest is the latest. */
    save: z.int().min(1),
    ...common,
    /** The hash of this text itself, with zeros in place of these digits. */
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
  }),
]);

/** The files of a checkpoint with their sizes and hashes. */
export type Manifest = z.output<typeof schema>;

/** Replaces the hash while it is computed. */
const ZEROS = '0'.repeat(64);

/** The text of manifest.json for files that were just written. @param save - the number of the save. */
export function manifestText(files: Readonly<Record<string, WrittenFile>>, save: number): string {
  const manifest: Manifest = {
    version: 2,
    save,
    saved: new Date().toISOString(),
    files,
    sha256: ZEROS,
  };
  const text = `${JSON.stringify(manifest, null, 2)}\n`;
  return withOwnHash(text, ZEROS, hashOf(text));
}

/** @throws TesseraeError `ERR_CHECKPOINT` if it is missing or damaged: the checkpoint is then incomplete. */
export async function readManifest(directory: string): Promise<Manifest> {
  const { value: manifest, text } = await readJsonText(directory, MANIFEST, schema);
  if (manifest.version === 2 && hashOf(withOwnHash(text, manifest.sha256, ZEROS)) !== manifest.sha256)
    throw damaged(path.join(directory, MANIFEST), 'its SHA-256 is not the one recorded when it was written');
  return manifest;
}

/**
 * Compares two manifests for sorting, latest save first. Those of older releases count as earlier than all others; among them,
 * the clock decides.
 */
export function compareSaves(a: Manifest, b: Manifest): number {
  if (a.version === 2 && b.version === 2) return b.save - a.save;
  return b.version - a.version || Date.parse(b.saved) - Date.parse(a.saved);
}

const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** The hash is the last field of the text. */
function withOwnHash(text: string, from: string, to: string): string {
  const at = text.lastIndexOf(from);
  return text.slice(0, at) + to + text.slice(at + from.length);
}

/**
 * Compares the sizes of a checkpoint's files with its manifest.
 *
 * @param names - the files to look at. Default: all that the manifest has.
 * @throws TesseraeError `ERR_CHECKPOINT` that names the first file that is missing or has another size.
 */
export async function verifySizes(
  directory: string,
  { files: written }: Manifest,
  names: readonly string[] = Object.keys(written),
): Promise<void> {
  for (const name of names) {
    const file = path.join(directory, name);
    const wanted = written[name];
    if (!wanted) throw damaged(file, `${MANIFEST} does not list it`);
    const size = await files.sizeOf(file).catch((cause: unknown) => {
      throw notRead(file, cause);
    });
    if (size !== wanted.bytes)
      throw damaged(file, `it has ${size} bytes instead of the ${wanted.bytes} that were written`);
  }
}

/** Like verifySizes, but also reads the files and compares their hashes. */
export async function verifyFiles(
  directory: string,
  manifest: Manifest,
  names: readonly string[] = Object.keys(manifest.files),
): Promise<void> {
  await verifySizes(directory, manifest, names);
  for (const name of names) {
    const file = path.join(directory, name);
    const sha256 = await sha256Of(file).catch((cause: unknown) => {
      throw notRead(file, cause);
    });
    if (sha256 !== manifest.files[name]?.sha256)
      throw damaged(file, 'its SHA-256 is not the one recorded when it was written');
  }
}

async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256');
  const handle = await files.open(file, 'r');
  try {
    const buffer = new Uint8Array(2 ** 20);
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(buffer.subarray(0, bytesRead));
    }
  } finally {
    await handle.close();
  }
}

/** A missing file is damage; a file that this user or the disk can't read may be complete. */
const notRead = (file: string, cause: unknown): TesseraeError =>
  systemCode(cause) === 'ENOENT' ? damaged(file, messageOf(cause), cause) : readError(file, cause);

function damaged(file: string, why: string, cause?: unknown): TesseraeError {
  return new TesseraeError('ERR_CHECKPOINT', `'${file}' is damaged: ${why}`, {
    details: { directory: path.dirname(file), file },
    cause,
  });
}
