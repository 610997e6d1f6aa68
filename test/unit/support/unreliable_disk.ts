import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { files, type OpenFile } from '../../../lib/checkpoint/files';

/** A change of the disk; names are relative to the watched folder. */
export type Change =
  | { readonly kind: 'mkdir' | 'create' | 'sync' | 'remove'; readonly name: string }
  | { readonly kind: 'write'; readonly name: string; readonly at: number; readonly bytes: Buffer }
  | { readonly kind: 'rename'; readonly name: string; readonly to: string };

/** Records, in order, the changes that file operations make below a folder. Returns the log, and a function that ends it. */
export function recordChanges(folder: string): { log: Change[]; end: () => void } {
  const log: Change[] = [];
  const at = (name: string): string => path.relative(folder, name);
  const real = { ...files };
  Object.assign(files, {
    open: async (name, flags) => {
      const file = await real.open(name, flags);
      if (flags === 'wx') log.push({ kind: 'create', name: at(name) });
      const write = (async (bytes: Uint8Array, offset: number, length: number, position: number) => {
        const written = Buffer.from(bytes.subarray(offset, offset + length));
        log.push({ kind: 'write', name: at(name), at: position, bytes: written });
        return file.write(bytes, offset, length, position);
      }) as OpenFile['write'];
      const sync = (): Promise<void> => {
        log.push({ kind: 'sync', name: at(name) });
        return Promise.resolve();
      };
      return { read: file.read.bind(file), write, sync, close: () => file.close() };
    },
    mkdir: (name) => {
      log.push({ kind: 'mkdir', name: at(name) });
      return real.mkdir(name);
    },
    rename: (from, to) => {
      log.push({ kind: 'rename', name: at(String(from)), to: at(String(to)) });
      return real.rename(from, to);
    },
    remove: (name) => {
      log.push({ kind: 'remove', name: at(name) });
      return real.remove(name);
    },
  } satisfies Partial<typeof files>);
  return { log, end: () => void Object.assign(files, real) };
}

/** Each as it is, and as it was when it was last synced. */
interface File {
  now: Buffer;
  synced: Buffer;
}
interface Folder {
  now: Map<string, File | Folder>;
  synced: Map<string, File | Folder>;
}

/**
 * What a power failure leaves of unsynced data: names without bytes, names with half of the bytes (the rest zeros), or nothing.
 */
export const LOSSES = ['bytes', 'half of the bytes', 'names and bytes'] as const;
export type Loss = (typeof LOSSES)[number];

/** A disk that keeps only what was synced, each file and each folder separately. */
export class UnreliableDisk {
  private readonly root: Folder = { now: new Map(), synced: new Map() };

  apply(change: Change): void {
    const { entries, name } = this.find(change.name);
    switch (change.kind) {
      case 'mkdir':
        entries.set(name, { now: new Map(), synced: new Map() });
        break;
      case 'create':
        entries.set(name, { now: Buffer.alloc(0), synced: Buffer.alloc(0) });
        break;
      case 'write': {
        const file = entries.get(name) as File;
        const size = Math.max(file.now.length, change.at + change.bytes.length);
        file.now = Buffer.concat([file.now, Buffer.alloc(size - file.now.length)]);
        change.bytes.copy(file.now, change.at);
        break;
      }
      case 'sync': {
        const synced = change.name === '' ? this.root : entries.get(name);
        if (synced?.now instanceof Map) (synced as Folder).synced = new Map(synced.now);
        else if (synced) (synced as File).synced = Buffer.from((synced as File).now);
        break;
      }
      case 'rename': {
        const to = this.find(change.to);
        to.entries.set(to.name, entries.get(name)!);
        entries.delete(name);
        break;
      }
      case 'remove':
        entries.delete(name);
    }
  }

  /** Writes what a power failure leaves into a folder. */
  async afterPowerFailure(loss: Loss, into: string): Promise<void> {
    const write = async (folder: Folder, to: string): Promise<void> => {
      await mkdir(to, { recursive: true });
      for (const [name, entry] of loss === 'names and bytes' ? folder.synced : folder.now) {
        const at = path.join(to, name);
        if (entry.now instanceof Map) await write(entry as Folder, at);
        else await writeFile(at, remains(entry as File, loss));
      }
    };
    await write(this.root, into);
  }

  private find(name: string): { entries: Map<string, File | Folder>; name: string } {
    const parts = name.split(path.sep);
    const last = parts.pop() ?? '';
    const folder = parts.reduce((at, part) => at.now.get(part) as Folder, this.root);
    return { entries: folder.now, name: last };
  }
}

function remains({ now, synced }: File, loss: Loss): Buffer {
  if (loss !== 'half of the bytes' || now.equals(synced)) return synced;
  const half = now.length >> 1;
  return Buffer.concat([now.subarray(0, half), Buffer.alloc(now.length - half)]);
}
