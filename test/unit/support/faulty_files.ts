import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { files, type OpenFile } from '../../../lib/checkpoint/files';

/** What fails, at which counted call, and for how long. */
export interface Fault {
  readonly code: 'ENOSPC' | 'EIO' | 'EACCES';
  /** From 1; Infinity: never. */
  readonly at: number;
  /** Whether all later calls fail too: a disk that is full or gone. */
  readonly stays: boolean;
}

/** Calls of lib/checkpoint/files.ts, in order: `write weights`, `rename checkpoint-2`. */
export type Calls = readonly string[];

/** Calls that change nothing on the disk. */
export const isRead = (call: string): boolean =>
  /^(readdir|readText|sizeOf|freeBytes|open r|read|close r) /.test(call);

/**
 * Runs `work` with file operations that count their calls and fail as requested. All writes are short, as the system allows:
 * each writes two thirds of its bytes.
 */
export async function withFaults(
  { code, at, stays }: Fault,
  work: () => Promise<unknown>,
): Promise<{ calls: Calls; error: unknown }> {
  const calls: string[] = [];
  const check = (call: string, file: string): void => {
    calls.push(`${call} ${path.basename(file)}`);
    if (calls.length === at || (stays && calls.length > at))
      throw Object.assign(new Error(`${code}: ${call} '${file}'`), { code, syscall: call });
  };
  const real = { ...files };
  const faulty: typeof files = {
    open: async (name, flags) => {
      check(`open ${flags}`, name);
      return faultyFile(await real.open(name, flags), (call) => check(call, name), flags);
    },
    mkdir: async (name) => (check('mkdir', name), real.mkdir(name)),
    readdir: async (name) => (check('readdir', name), real.readdir(name)),
    readText: async (name) => (check('readText', name), real.readText(name)),
    rename: async (from, to) => (check('rename', String(from)), real.rename(from, to)),
    remove: async (name) => {
      try {
        check('remove', name);
      } catch (error) {
        // Part of it is gone already.
        const [first] = await readdir(name).catch(() => []);
        if (first !== undefined) await rm(path.join(name, first), { recursive: true });
        throw error;
      }
      return real.remove(name);
    },
    sizeOf: async (name) => (check('sizeOf', name), real.sizeOf(name)),
    freeBytes: async (name) => (check('freeBytes', name), real.freeBytes(name)),
  };
  Object.assign(files, faulty);
  try {
    await work();
    return { calls, error: undefined };
  } catch (error) {
    return { calls, error };
  } finally {
    Object.assign(files, real);
  }
}

/**
 * Stops syncing files to the disk: that takes most of a test's time and matters only in a power failure. Returns a function
 * that ends this.
 */
export function withoutSyncs(): () => void {
  const { open } = files;
  files.open = async (name, flags) => {
    const file = await open(name, flags);
    file.sync = () => Promise.resolve();
    return file;
  };
  return () => void (files.open = open);
}

function faultyFile(file: OpenFile, check: (call: string) => void, flags: 'r' | 'wx'): OpenFile {
  const read = ((...args: Parameters<OpenFile['read']>) => {
    check('read');
    return file.read(...args);
  }) as OpenFile['read'];
  const write = (async (bytes: Uint8Array, offset: number, length: number, position: number) => {
    check('write');
    return file.write(bytes, offset, Math.ceil((length * 2) / 3), position);
  }) as OpenFile['write'];
  return {
    read,
    write,
    sync: async () => (check('sync'), file.sync()),
    close: async () => {
      await file.close();
      check(flags === 'r' ? 'close r' : 'close');
    },
  };
}
