import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

/** `tmp`: what will get the target's name; `old`: what had it until then; `trash`: what is being removed. */
export type TemporaryKind = 'tmp' | 'old' | 'trash';

/** What the name of a temporary file or folder says. */
export interface TemporaryName {
  /** Name of the file or folder that it is for. */
  readonly target: string;
  readonly kind: TemporaryKind;
  /** Who made it; absent where an earlier release did, whose names don't say. */
  readonly owner?: { readonly pid: number; readonly started: string };
}

/**
 * A new name beside a target. It says which process made it, by id and start time, so that a later command can tell what a
 * process left that was killed: ids are used again. Processes must see each other for that: on one machine, and not in
 * containers of which each has its own processes.
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

/** Whether the process that made a temporary has ended; false where that can't be told. */
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

/** A start time that the system did not tell. */
const UNKNOWN = '0';

let cached: string | undefined;

/** When this process started, in ticks since the machine did. */
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
