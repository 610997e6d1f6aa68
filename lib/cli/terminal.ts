import path from 'node:path';
import { TesseraeError } from '../errors';
import { colorsFor } from '../report/colors';
import { safeJson, safeLine, safeText } from '../report/safe_text';

/**
 * Text of a model as it may be written to `stream`: a terminal gets no control characters but tab and line feed, since
 * a model can generate the sequences that terminals obey.
 */
export const safeFor = (stream: { readonly isTTY?: boolean }, text: string): string =>
  stream.isTTY ? safeText(text) : text;

/**
 * Writes for people: every line of the command line but a model's text goes through here, so that no file, name or value in it
 * reaches the terminal as a command. Parts that are not ours and stand in a line with colours need safeText besides.
 */
export function print(text: string, stream: NodeJS.WritableStream = process.stdout): void {
  stream.write(safeLine(text));
}

/** Writes text of a model to standard output, where it goes on after what is there. */
export function printText(text: string): void {
  process.stdout.write(safeFor(process.stdout, text));
}

/** Writes a line of JSON for programs to standard output; `indent` spreads it over lines. */
export function printJson(value: unknown, indent?: number): void {
  process.stdout.write(`${safeJson(JSON.stringify(value, null, indent))}\n`);
}

/** A path as people write it: relative where that doesn't lead upwards. */
export function shownPath(file: string): string {
  const relative = path.relative('', file);
  return safeText(relative.startsWith('..') ? path.resolve(file) : relative || '.');
}

/** What a command tells on standard output at its end: a line for each of `lines`, the labels in a column. */
export function labelled(lines: readonly (readonly [label: string, value: string])[]): string {
  const { dim } = colorsFor(process.stdout);
  return lines.map(([label, value]) => `${dim(label.padEnd(12))}${safeText(value)}\n`).join('');
}

/** An error as the command line tells it on standard error. */
export function errorLine(error: unknown): string {
  const label = colorsFor(process.stderr).red('error');
  if (error instanceof TesseraeError) return `${label} ${error.code}: ${safeText(error.message)}`;
  if (!(error instanceof Error)) return `${label} ${safeText(String(error))}`;
  // The system's own errors say what is wrong; anything else is a mistake that a report needs the stack of.
  return `${label} ${safeText('syscall' in error ? error.message : (error.stack ?? error.message))}`;
}
