import path from 'node:path';

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
