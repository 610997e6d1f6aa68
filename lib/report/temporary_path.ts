import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

/** `tmp`: will be renamed to the target; `old`: the previous target; `trash`: being removed. */
export type TemporaryKind = 'tmp' | 'old' | 'trash';

/** The parts of a temporary file's or folder's name. */
export interface TemporaryName {
  /** Name of the target file or folder. */
  readonly target: string;
  readonly kind: TemporaryKind;
  /** The process that made it; absent in names of earlier releases. */
  readonly owner?: { readonly pid: number; readonly started: string };
}

/**
 * A new name next to a target. It contains the id and start time of this process (ids are reused), so that a later command can
 * recognize the leftovers of a killed process. That works only between processes that see each other: on one machine, and not
 * across containers.
 */
export const temporaryPath = (target: string, kind: TemporaryKind): string =>
  `${target}.${kind}-${process.pid}-${ownStart()}-${randomBytes(6).toString('hex')}`;

/** Reads a name that temporaryPath made; undefined for any other. */
export function parseTemporary(name: string): TemporaryName | undefined {
  const parts = /^(.+)\.(tmp|old|trash)-(?:(\d{1,10})-(\d{1,20})-)?[0-9a-f]{12}$/.exec(name);
  if (!parts) return undefined;
  const [, target = '', kind, pid, started] = parts;
  return {
    target,
    kind: kind as TemporaryKind,
    ...(pid === undefined || started === undefined ? {} : { owner: { pid: Number(pid), started } }),
  };
}

/** Whether the process that made a temporary file has ended; false if that is unknown. */
export async function isLeftover({ owner }: TemporaryName): Promise<boolean> {
  if (!owner) return false;
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
  if (owner.started === UNKNOWN) return false;
  const stat = await readFile(`/proc/${owner.pid}/stat`, 'utf8').catch(() => undefined);
  if (stat === undefined) return false;
  const { state, started } = parseStat(stat);
  return started !== owner.started || state === 'Z' || state === 'X';
}

/** Stands for an unknown start time. */
const UNKNOWN = '0';

let cached: string | undefined;

/** Start time of this process, in ticks since the machine booted. */
function ownStart(): string {
  if (cached !== undefined) return cached;
  try {
    cached = parseStat(readFileSync('/proc/self/stat', 'utf8')).started;
  } catch {
    cached = UNKNOWN;
  }
  return cached;
}

/** Fields 3 and 22 of proc(5)'s stat; field 2, the program's name, may hold anything. */
function parseStat(stat: string): { state: string; started: string } {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', started: fields[19] ?? UNKNOWN };
}
