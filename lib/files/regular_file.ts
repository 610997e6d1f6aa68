/**
 * Opens files from elsewhere so that no call ever blocks. Opening a named pipe waits for its other end, a device may have no
 * end, and either may be at the path of a file.
 */
import { closeSync, constants, fstatSync, openSync, statSync, type Stats } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { exhaustedError, messageOf, TesseraeError } from '../errors';
import { retried, retriedSync } from './retried';

const FOLDER = 'a folder';

/** Something that exists but is not a file. Readers convert it to an error with their own code. */
export class NotAFileError extends Error {
  /** What it is, such as 'a named pipe'. */
  readonly kind: string;
  readonly isFolder: boolean;

  constructor(kind: string) {
    super(`it is ${kind}, not a file`);
    this.name = 'NotAFileError';
    this.kind = kind;
    this.isFolder = kind === FOLDER;
  }
}

// The file may be replaced between the check and the opening, so opening must never wait.
const NO_WAIT = constants.O_NONBLOCK | constants.O_NOCTTY;
/** Flags that open a file or a folder for reading. */
export const READ = constants.O_RDONLY | NO_WAIT;
const WRITE = {
  /** Empties an existing file. */
  w: constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_APPEND | NO_WAIT,
  /** Appends to an existing file. */
  a: constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | NO_WAIT,
} as const;

function requireFile(found: Stats): void {
  if (!found.isFile()) throw new NotAFileError(kindOf(found));
}

function kindOf(found: Stats): string {
  if (found.isDirectory()) return FOLDER;
  if (found.isFIFO()) return 'a named pipe';
  if (found.isSocket()) return 'a socket';
  return 'a device';
}

/**
 * Opens a file for reading; if too many files are open, retries for a second.
 *
 * @throws NotAFileError for anything but a file, or the system's error if it can't be opened.
 */
export async function openFile(file: string): Promise<FileHandle> {
  // Even opening a device may do something, such as rewind a tape.
  requireFile(await stat(file));
  return checked(await retried(() => open(file, READ)));
}

/** As openFile, for threads that may wait for a disk: gives a descriptor. */
export function openFileSync(file: string): number {
  requireFile(statSync(file));
  const descriptor = retriedSync(() => openSync(file, READ));
  try {
    requireFile(fstatSync(descriptor));
    return descriptor;
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/**
 * Opens a file for appending, and creates it if it is missing. Tries once.
 *
 * @param flags - 'w' empties it first.
 * @throws as openFile.
 */
export async function openFileToWrite(file: string, flags: keyof typeof WRITE): Promise<FileHandle> {
  const found = await stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (found) requireFile(found);
  return checked(await open(file, WRITE[flags]));
}

async function checked(handle: FileHandle): Promise<FileHandle> {
  try {
    requireFile(await handle.stat());
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * The text of a UTF-8 file.
 *
 * @param mostBytes - larger files are refused. The size is not enough to check: files in /proc have size 0.
 * @throws as openFile, and an Error that says how large it is.
 */
export async function readTextFile(file: string, mostBytes: number): Promise<string> {
  const handle = await openFile(file);
  try {
    const { size } = await handle.stat();
    if (size > mostBytes) throw tooLarge(size, mostBytes);
    const chunks: Buffer[] = [];
    let total = 0;
    for (;;) {
      // One byte more than its size, so that the first read finds the end.
      const chunk = Buffer.allocUnsafe(Math.min(Math.max(size + 1 - total, 2 ** 16), 2 ** 26));
      const { bytesRead } = await handle.read(chunk, 0, chunk.length, total);
      if (bytesRead === 0) return Buffer.concat(chunks).toString('utf8');
      total += bytesRead;
      if (total > mostBytes) throw tooLarge(total, mostBytes);
      chunks.push(chunk.subarray(0, bytesRead));
    }
  } finally {
    await handle.close();
  }
}

const tooLarge = (bytes: number, most: number): Error =>
  new Error(`it has ${bytes} bytes, more than the limit of ${most}`);

/** Writes a text file as a whole, in place of one that is there; throws as openFileToWrite. */
export async function writeTextFile(file: string, text: string): Promise<void> {
  const handle = await retried(() => openFileToWrite(file, 'w'));
  try {
    await handle.writeFile(text);
  } finally {
    await handle.close();
  }
}

/** Bytes of a file; throws as openFile. */
export async function fileSize(file: string): Promise<number> {
  const found = await stat(file);
  requireFile(found);
  return found.size;
}

/** Whether a path is a file, or a link to one. */
export const isFile = (name: string): Promise<boolean> =>
  stat(name).then(
    (found) => found.isFile(),
    () => false,
  );

/**
 * The error for a file of data that can't be opened.
 *
 * @param what - its description in messages, such as `the text file 'a.txt'`.
 * @param inFolder - what to give instead of a folder.
 * @returns `ERR_DATA`, or the error for files or memory that are used up.
 */
export function unopened(
  what: string,
  file: string,
  cause: unknown,
  inFolder = 'the files in it one by one',
): TesseraeError {
  const message = `${what} ${whyUnopened(cause)}`;
  const isFolder = cause instanceof NotAFileError && cause.isFolder;
  return (
    exhaustedError(`${what} can't be opened`, cause) ??
    new TesseraeError('ERR_DATA', isFolder ? `${message}: give ${inFolder}` : message, {
      details: { path: file },
      cause,
    })
  );
}

function whyUnopened(cause: unknown): string {
  if (cause instanceof NotAFileError) return `is ${cause.kind}, not a file`;
  const { code } = cause as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'does not exist';
  return `can't be opened (${code ?? messageOf(cause)})`;
}
