import { JsonError, parseStrictJson } from '../checkpoint/strict_json';
import { messageOf, TesseraeError } from '../errors';
import { NotAFileError, readTextFile } from '../regular_file';

/** Larger files are no configurations. */
const MOST_BYTES = 4 * 1024 * 1024;

/**
 * Reads a JSON file.
 *
 * @throws TesseraeError `ERR_CONFIG` for a file that can't be read, and, with its line and column, for a syntax error, a
 * name that is there twice and an integer beyond 2^53.
 */
export async function readJson(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await readTextFile(file, MOST_BYTES);
  } catch (cause) {
    const known: Readonly<Record<string, string>> = { ENOENT: 'there is no such file' };
    const isFolder = cause instanceof NotAFileError && cause.isFolder;
    const why = isFolder
      ? 'it is a folder; give the JSON file'
      : (known[(cause as NodeJS.ErrnoException).code ?? ''] ?? messageOf(cause));
    throw new TesseraeError('ERR_CONFIG', `${file} could not be read: ${why}`, { details: { file }, cause });
  }
  const content = text.replace(/^\uFEFF/, '');
  const refuse = ({ offset, why }: { offset: number; why: string }, cause: unknown): TesseraeError => {
    const before = content.slice(0, offset).split('\n');
    const [line, column] = [before.length, (before.at(-1) ?? '').length + 1];
    return new TesseraeError('ERR_CONFIG', `${file}:${line}:${column}: ${why}`, {
      details: { file, line, column },
      cause,
    });
  };
  let json: unknown;
  try {
    json = JSON.parse(content) as unknown;
  } catch (cause) {
    throw refuse(syntaxError(content), cause);
  }
  try {
    // JSON.parse would keep the last of two equal names, and round large integers.
    parseStrictJson(content);
  } catch (cause) {
    if (cause instanceof JsonError) throw refuse({ offset: cause.position, why: cause.why }, cause);
    throw cause;
  }
  return json;
}

type Kind = '{' | '}' | '[' | ']' | ',' | ':' | 'text' | 'literal';
type State = 'value' | 'first value' | 'name' | 'first name' | 'colon' | 'next';

const SPACE = /[ \t\r\n]*/y;
const PUNCTUATION = /[{}[\],:]/y;
const TEXT = /"(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy;
const LITERAL = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** Finds where text stops being JSON. Node's own message has no line, and often no position. */
function syntaxError(text: string): { offset: number; why: string } {
  const match = (pattern: RegExp, offset: number): string | undefined => {
    pattern.lastIndex = offset;
    return pattern.exec(text)?.[0];
  };
  const open: ('{' | '[')[] = [];
  let state: State = 'value';
  let offset = 0;
  for (;;) {
    offset += match(SPACE, offset)?.length ?? 0;
    const punctuation = match(PUNCTUATION, offset);
    const string = match(TEXT, offset);
    const token = punctuation ?? string ?? match(LITERAL, offset);
    const kind = (punctuation ?? (string === undefined ? 'literal' : 'text')) as Kind;
    const { kinds, words } = expectation(state, open.at(-1));
    if (token === undefined || !kinds.includes(kind))
      return { offset, why: `expected ${words}, found ${found(text, offset)}` };
    offset += token.length;
    if (kind === '{' || kind === '[') open.push(kind);
    if (kind === '}' || kind === ']') open.pop();
    state = following(state, kind, open.at(-1));
  }
}

const VALUES: readonly Kind[] = ['{', '[', 'text', 'literal'];

function expectation(state: State, inside: '{' | '[' | undefined): { kinds: readonly Kind[]; words: string } {
  switch (state) {
    case 'value':
      return { kinds: VALUES, words: inside === '[' ? "a value (no ',' after the last one)" : 'a value' };
    case 'first value':
      return { kinds: [...VALUES, ']'], words: "a value or ']'" };
    case 'name':
      return { kinds: ['text'], words: "a name in double quotes (no ',' after the last one)" };
    case 'first name':
      return { kinds: ['text', '}'], words: "a name in double quotes or '}'" };
    case 'colon':
      return { kinds: [':'], words: "':'" };
    case 'next':
      if (inside === '{') return { kinds: [',', '}'], words: "',' or '}'" };
      if (inside === '[') return { kinds: [',', ']'], words: "',' or ']'" };
      return { kinds: [], words: 'nothing more' };
  }
}

function following(state: State, kind: Kind, inside: '{' | '[' | undefined): State {
  switch (kind) {
    case '{':
      return 'first name';
    case '[':
      return 'first value';
    case ',':
      return inside === '{' ? 'name' : 'value';
    case ':':
      return 'value';
    case 'text':
      return state === 'name' || state === 'first name' ? 'colon' : 'next';
    case '}':
    case ']':
    case 'literal':
      return 'next';
  }
}

function found(text: string, offset: number): string {
  if (offset >= text.length) return 'the end of the file';
  if (/^\/[/*]/.test(text.slice(offset, offset + 2))) return 'a comment, which JSON does not have';
  if (text[offset] === '"') return 'text that does not end, or has a character that needs a backslash';
  return `'${/^[\w.+-]{1,20}/.exec(text.slice(offset, offset + 20))?.[0] ?? String.fromCodePoint(text.codePointAt(offset) ?? 0)}'`;
}
