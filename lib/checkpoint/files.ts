import { open, readdir, rename, rm, statfs, type FileHandle } from 'node:fs/promises';
import { messageOf, TesseraeError } from '../errors';
import { fileSize, READ, readTextFile } from '../files/regular_file';
import { makeFolder } from '../report/make_folder';
import { retried } from '../files/retried';

/** The operations of an open file that checkpoints use. */
export type OpenFile = Pick<FileHandle, 'read' | 'write' | 'sync' | 'close'>;

/** The operations that checkpoints are written and verified with: one place, so that a test can make each of them fail. */
export const files = {
  open: (name: string, flags: 'r' | 'wx'): Promise<OpenFile> =>
    retried(() => open(name, flags === 'r' ? READ : flags)),
  mkdir: makeFolder,
  readdir: (name: string): Promise<string[]> => readdir(name),
  /** Reads the text of a small file; rejects if it is missing, too large, or a pipe. */
  readText: (name: string): Promise<string> => readTextFile(name, MOST_BYTES),
  rename,
  /** Removes a file, or a folder with its contents. */
  remove: (name: string): Promise<void> => rm(name, { recursive: true }),
  /** Bytes of a file; rejects for anything else. */
  sizeOf: fileSize,
  /** Bytes that this user may still write to the disk of a folder; Infinity if the disk does not say. */
  freeBytes: async (name: string): Promise<number> => {
    const { bavail, blocks, bsize } = await statfs(name);
    return blocks === 0 ? Infinity : bavail * bsize;
  },
};

/** Larger files are not JSON of a checkpoint: GPT-2 with 1,000 blocks has 1 MiB of names in its index. */
const MOST_BYTES = 16 * 1024 * 1024;

/** Advice for errors of the file system, by their codes; for those that depend on it, for writing. */
const ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full: free space there, or write to another disk',
  EDQUOT: "this user's quota is used up: free space there, or write to another disk",
  EACCES: 'let this user write there, or write elsewhere',
  EPERM: 'let this user write there, or write elsewhere',
  EROFS: 'the disk is read-only: write elsewhere',
  EIO: 'the disk reports an error: check it, and write to another one',
  ENOTDIR: 'there is a file where a folder should be: remove it, or write elsewhere',
  EEXIST: 'there is a file where a folder should be: remove it, or write elsewhere',
  EMFILE: 'the process has too many files open: raise its limit (ulimit -n)',
  ENFILE: 'the machine has too many files open: close some, or raise its limit (fs.file-max)',
  ENOMEM: 'the system is out of memory: free some',
};

/** The system's code of an error or of its cause, such as ENOSPC. */
export function systemCode(error: unknown): string | undefined {
  const { code } = ((error instanceof TesseraeError ? error.cause : error) ?? {}) as NodeJS.ErrnoException;
  return code;
}

/** An error of the file system with what failed, such as `'a/b' can't be written`, and what to do. Coded ones stay. */
export function fileError(file: string, failed: string, cause: unknown): TesseraeError {
  if (cause instanceof TesseraeError) return cause;
  return withAdvice(file, failed, cause, ADVICE[systemCode(cause) ?? '']);
}

const FORBIDDEN: readonly unknown[] = ['EACCES', 'EPERM'];

/** Whether an error is about the permissions or limits of this process, and so says nothing about the disk's contents. */
export const isOfProcess = (error: unknown): boolean =>
  [...FORBIDDEN, 'EMFILE', 'ENFILE', 'ENOMEM'].includes(systemCode(error));

/** An error of the file system in reading a file or a folder, with what to do. */
export function readError(file: string, cause: unknown): TesseraeError {
  const code = systemCode(cause) ?? '';
  const advice = FORBIDDEN.includes(code) ? 'let this user read it' : ADVICE[code];
  return withAdvice(file, "can't be read", cause, advice);
}

function withAdvice(file: string, failed: string, cause: unknown, advice: string | undefined): TesseraeError {
  const why = advice === undefined ? messageOf(cause) : `${messageOf(cause)}; ${advice}`;
  return new TesseraeError('ERR_CHECKPOINT', `'${file}' ${failed}: ${why}`, { details: { file }, cause });
}

/** Makes renames and new names in a folder last beyond a power failure. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await files.open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
