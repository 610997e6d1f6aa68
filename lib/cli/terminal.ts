import path from 'node:path';
import { TesseraeError } from '../errors';
import { colorsFor } from '../report/colors';

/**
 * Text of a model as it may be written to `stream`: a terminal gets no control characters but tab and line feed, since
 * a model can generate the sequences that terminals obey.
 */
export function safeFor(stream: { readonly isTTY?: boolean }, text: string): string {
  return stream.isTTY ? text.replace(/(?![\t\n])\p{Cc}/gu, '\uFFFD') : text;
}

/** A path as people write it: relative where that doesn't lead upwards. */
export function shownPath(file: string): string {
  const relative = path.relative('', file);
  return relative.startsWith('..') ? path.resolve(file) : relative || '.';
}

/** What a command tells on standard output at its end: a line for each of `lines`, the labels in a column. */
export function labelled(lines: readonly (readonly [label: string, value: string])[]): string {
  const { dim } = colorsFor(process.stdout);
  return lines.map(([label, value]) => `${dim(label.padEnd(12))}${value}\n`).join('');
}

/** An error as the command line tells it on standard error. */
export function errorLine(error: unknown): string {
  const label = colorsFor(process.stderr).red('error');
  if (error instanceof TesseraeError) return `${label} ${error.code}: ${error.message}`;
  if (!(error instanceof Error)) return `${label} ${String(error)}`;
  // The system's own errors say what is wrong; anything else is a mistake that a report needs the stack of.
  return `${label} ${'syscall' in error ? error.message : (error.stack ?? error.message)}`;
}
