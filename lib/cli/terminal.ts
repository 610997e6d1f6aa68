import path from 'node:path';
import { TesseraeError } from '../errors';
import { colorsFor } from '../report/colors';
import { safeJson, safeLine, safeText } from '../report/safe_text';

/**
 * A model's text, made safe for `stream`: a terminal gets no control characters but tab and line feed, because a model can
 * generate escape sequences.
 */
export const safeFor = (stream: { readonly isTTY?: boolean }, text: string): string =>
  stream.isTTY ? safeText(text) : text;

/**
 * Writes text for people. All output except a model's text goes through here, so that no file, name or value can send control
 * characters to the terminal. In a line with colours, pass foreign parts through safeText too.
 */
export function print(text: string, stream: NodeJS.WritableStream = process.stdout): void {
  stream.write(safeLine(text));
}

/** Writes a model's text to standard output, without a line feed. */
export function printText(text: string): void {
  process.stdout.write(safeFor(process.stdout, text));
}

/** Writes JSON to standard output, on one line unless `indent` is given. */
export function printJson(value: unknown, indent?: number): void {
  process.stdout.write(`${safeJson(JSON.stringify(value, null, indent))}\n`);
}

/** A path as people write it: relative unless that would lead upwards. */
export function shownPath(file: string): string {
  const relative = path.relative('', file);
  return safeText(relative.startsWith('..') ? path.resolve(file) : relative || '.');
}

/** The summary of a command: one line for each of `lines`, with the labels in a column. */
export function labelled(lines: readonly (readonly [label: string, value: string])[]): string {
  const { dim } = colorsFor(process.stdout);
  return lines.map(([label, value]) => `${dim(label.padEnd(12))}${safeText(value)}\n`).join('');
}

/** An error as the command line prints it on standard error. */
export function errorLine(error: unknown): string {
  const label = colorsFor(process.stderr).red('error');
  if (error instanceof TesseraeError) return `${label} ${error.code}: ${safeText(error.message)}`;
  if (!(error instanceof Error)) return `${label} ${safeText(String(error))}`;
  // System errors explain themselves. Anything else is a bug, and a report needs its stack.
  return `${label} ${safeText('syscall' in error ? error.message : (error.stack ?? error.message))}`;
}
