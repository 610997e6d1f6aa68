import path from 'node:path';
import pc from 'picocolors';
import { TesseraeError } from '../errors';

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

/** An error as the command line tells it. */
export function errorLine(error: unknown): string {
  if (error instanceof TesseraeError) return `${pc.red('error')} ${error.code}: ${error.message}`;
  if (!(error instanceof Error)) return `${pc.red('error')} ${String(error)}`;
  // The system's own errors say what is wrong; anything else is a mistake that a report needs the stack of.
  return `${pc.red('error')} ${'syscall' in error ? error.message : (error.stack ?? error.message)}`;
}
