/** Finds the tokens that begin and end texts, pad rows and replace unknown text. */
import { TesseraeError } from '../errors';
import type { TokenRoles } from './tokenizer';

/** A parsed JSON object with unchecked values. */
export type JsonObject = Readonly<Record<string, unknown>>;

interface Role {
  readonly role: keyof TokenRoles;
  /** Its name in tokenizer_config.json and special_tokens_map.json; with `_id` that in the files of a model. */
  readonly key: string;
  /** Its description in messages. */
  readonly what: string;
  /** Usual names of special tokens with this role, most specific first. */
  readonly names: readonly string[];
}

const ROLES: readonly Role[] = [
  {
    role: 'startToken',
    key: 'bos_token',
    what: 'begins a text',
    names: [
      ...['<|begin_of_text|>', '<|startoftext|>', '<｜begin▁of▁sentence｜>', '<bos>', '<BOS>', '<|bos|>'],
      ...['[BOS]', '<s>', '[CLS]'],
    ],
  },
  {
    role: 'endOfTextToken',
    key: 'eos_token',
    what: 'ends a text',
    names: [
      ...['<|endoftext|>', '<|end_of_text|>', '<｜end▁of▁sentence｜>', '<eos>', '<EOS>', '<|eos|>'],
      ...['[EOS]', '</s>', '[SEP]'],
    ],
  },
  {
    role: 'padToken',
    key: 'pad_token',
    what: 'fills rows',
    names: ['<pad>', '<PAD>', '<|pad|>', '[PAD]', '<｜▁pad▁｜>'],
  },
  {
    role: 'unknownToken',
    key: 'unk_token',
    what: 'replaces unknown text',
    names: ['<unk>', '<UNK>', '<|unk|>', '[UNK]'],
  },
];

/** The tokens of a tokenizer.json. */
export interface KnownTokens {
  readonly size: number;
  /** Ids of the added tokens that the file marks as special, by their text. */
  readonly special: ReadonlyMap<string, number>;
  /** The unknown token of its model. */
  readonly unknown?: string | undefined;
  /** The id of any token. */
  readonly idOf: (token: string) => number | undefined;
  /** The token of an id. */
  readonly tokenOf: (id: number) => string | undefined;
}

/** A file that may name roles of tokens. */
export interface RoleSource {
  /** Its name in messages. */
  readonly name: string;
  readonly contents: JsonObject;
  /** Whether it contains names of tokens, or their ids. */
  readonly has: 'names' | 'ids';
}

/** The roles that files name. */
export interface FoundRoles {
  readonly roles: TokenRoles;
  /** Messages where files disagree, or name tokens that don't exist. */
  readonly warnings: readonly string[];
}

/**
 * The roles of tokens. The first source that names a role decides; last come the special tokens of the tokenizer.json whose
 * names imply a role. An id counts only if it is a special token: models keep GPT-2's 50256 with vocabularies in which that is
 * a word. Without a start token, a text begins with the end token.
 *
 * @param sources - highest priority first.
 */
export function tokenRoles(tokens: KnownTokens, sources: readonly RoleSource[] = []): FoundRoles {
  const warnings: string[] = [];
  const roles: { -readonly [Key in keyof TokenRoles]: number } = {};
  for (const one of ROLES) {
    const found = sources.flatMap((source) => idsIn(source, one, tokens, warnings));
    const id = found[0]?.ids[0] ?? byName(one, tokens);
    if (id === undefined) continue;
    roles[one.role] = id;
    const other = found.find(({ ids }) => !ids.includes(id));
    if (other)
      warnings.push(
        `files disagree about the token that ${one.what}: ${told(id, tokens)} in ${found[0]?.name}, ` +
          `${told(other.ids[0], tokens)} in ${other.name}. The first is used`,
      );
  }
  if (roles.startToken === undefined && roles.endOfTextToken !== undefined)
    roles.startToken = roles.endOfTextToken;
  return { roles, warnings };
}

/** The ids that a source gives to a role: one, or several that all have it. */
function idsIn(
  { name, contents, has }: RoleSource,
  { key, what }: Role,
  tokens: KnownTokens,
  warnings: string[],
): { readonly name: string; readonly ids: readonly number[] }[] {
  if (has === 'ids') {
    const special = new Set(tokens.special.values());
    const ids = [contents[`${key}_id`]].flat().filter((id): id is number => special.has(id as number));
    return ids.length > 0 ? [{ name, ids }] : [];
  }
  const token = nameOf(contents[key]);
  if (token === undefined) return [];
  const id = tokens.special.get(token) ?? tokens.idOf(token);
  if (id !== undefined) return [{ name, ids: [id] }];
  warnings.push(`${name} says that ${JSON.stringify(token)} ${what}, but the vocabulary has no such token`);
  return [];
}

function byName({ role, names }: Role, { special, unknown, idOf }: KnownTokens): number | undefined {
  const own = role === 'unknownToken' && unknown !== undefined ? idOf(unknown) : undefined;
  return own ?? names.map((name) => special.get(name)).find((id) => id !== undefined);
}

/** A token in the form of tokenizer_config.json and special_tokens_map.json: its text, or an object with its text. */
export function nameOf(value: unknown): string | undefined {
  const content: unknown =
    typeof value === 'object' && value !== null && 'content' in value ? value.content : value;
  return typeof content === 'string' && content !== '' ? content : undefined;
}

const told = (id: number | undefined, { tokenOf }: KnownTokens): string =>
  id === undefined ? 'none' : `${JSON.stringify(tokenOf(id) ?? '')} (${id})`;

/** Tokens that a caller names for roles, each by its text or its id. */
export type NamedRoles = Readonly<Partial<Record<'startToken' | 'endOfTextToken', string | number>>>;

/**
 * A tokenizer_config.json with the tokens that a caller named added to it.
 *
 * @throws TesseraeError `ERR_CONFIG` for a token that the vocabulary does not have.
 */
export function withNamedRoles(config: JsonObject, named: NamedRoles, tokens: KnownTokens): JsonObject {
  const names = ROLES.flatMap(({ role, key }) => {
    const given = role === 'startToken' || role === 'endOfTextToken' ? named[role] : undefined;
    return given === undefined ? [] : [[key, tokenNamed(given, role, tokens)] as const];
  });
  return { ...config, ...Object.fromEntries(names) };
}

function tokenNamed(given: string | number, role: keyof TokenRoles, tokens: KnownTokens): string {
  const id = typeof given === 'number' ? given : /^\d{1,9}$/.test(given) ? Number(given) : undefined;
  if (typeof given === 'string' && tokens.special.has(given)) return given;
  const byId = id === undefined ? undefined : tokens.tokenOf(id);
  if (byId !== undefined) return byId;
  if (typeof given === 'string' && tokens.idOf(given) !== undefined) return given;
  const special = [...tokens.special.keys()].slice(0, 10).map((token) => JSON.stringify(token));
  throw new TesseraeError(
    'ERR_CONFIG',
    `${role} ${JSON.stringify(given)} is not a token of the tokenizer: give the text or the id of a token` +
      (special.length > 0 ? `, such as its special tokens ${special.join(', ')}` : ''),
    { details: { path: role } },
  );
}

/**
 * A tokenizer_config.json that names every role that was found, so that no other file is needed. It keeps its own contents.
 */
export function namingRoles(
  config: JsonObject,
  roles: TokenRoles,
  tokenOf: KnownTokens['tokenOf'],
): JsonObject {
  const names = ROLES.flatMap(({ role, key }) => {
    const id = roles[role];
    const token = id === undefined ? undefined : tokenOf(id);
    const isKnown = nameOf(config[key]) !== undefined;
    // The end token replaces a missing start token, so it is not a role of its own.
    const isStandIn = role === 'startToken' && id === roles.endOfTextToken && 'bos_token' in config;
    return token === undefined || isKnown || isStandIn ? [] : [[key, token] as const];
  });
  return { ...config, ...Object.fromEntries(names) };
}
