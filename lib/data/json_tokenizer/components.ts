/**
 * The parts of a tokenizer.json around its model, as the library receives them. A mistake in them, or a text that they
 * can't handle, ends the process, so each field is checked here and only known fields are passed on.
 */
import { z } from 'zod';
import { charsmapRefusal } from './charsmap';
import { isLinear, leastLength, refusalOf } from './pattern';

/** Deepest nesting of sequences; real files have two levels. */
const MOST_DEPTH = 8;
/** Most parts of one kind; real files have ten. */
const MOST_PARTS = 64;
/** Largest factor by which all replacements together may lengthen a text. */
const MOST_GROWTH = 64;
const MOST_TEXT = 1000;

const text = z.string().max(MOST_TEXT);
/** One code point, which is what the library calls a character. */
const letter = z.string().refine((value) => Array.from(value).length === 1, 'must be one character');
const flag = (value: boolean): z.ZodDefault<z.ZodBoolean> => z.boolean().default(value);
const behavior = z.enum(['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous']);

const regex = z.string().superRefine((value, context) => {
  const why = refusalOf(value);
  if (why !== undefined)
    context.addIssue({
      code: 'custom',
      message: `the regular expression ${shown(value)} is refused: ${why}`,
    });
});
const pattern = z.union([z.strictObject({ Regex: regex }), z.strictObject({ String: text.min(1) })], {
  error: (issue) => {
    const { Regex } = (issue.input ?? {}) as { Regex?: unknown };
    const why = typeof Regex === 'string' ? refusalOf(Regex) : undefined;
    return why === undefined
      ? 'must be {"Regex": …} or {"String": …}, which is not empty'
      : `the regular expression ${shown(Regex)} is refused: ${why}`;
  },
});
type Pattern = z.output<typeof pattern>;

const byteLevel = {
  add_prefix_space: flag(true),
  trim_offsets: flag(true),
  use_regex: flag(true),
};
const metaspace = {
  replacement: letter.default('▁'),
  prepend_scheme: z.enum(['first', 'never', 'always']).optional(),
  add_prefix_space: z.boolean().optional(),
  split: flag(true),
};
/** The library loses its place in a text that grows where nothing is replaced. */
const replace = {
  pattern: pattern.refine(
    (value) => 'String' in value || refusalOf(value.Regex) !== undefined || leastLength(value.Regex) > 0,
    'must not match an empty text',
  ),
  content: text,
};

type Fields = Readonly<Record<string, z.ZodType>>;

const NORMALIZERS: Readonly<Record<string, Fields>> = {
  BertNormalizer: {
    clean_text: flag(true),
    handle_chinese_chars: flag(true),
    strip_accents: z.boolean().nullable().default(null),
    lowercase: flag(true),
  },
  Strip: { strip_left: flag(true), strip_right: flag(true) },
  ...{ StripAccents: {}, NFC: {}, NFD: {}, NFKC: {}, NFKD: {}, Lowercase: {}, Nmt: {}, ByteLevel: {} },
  Precompiled: {
    precompiled_charsmap: z.string().superRefine((value, context) => {
      const why = charsmapRefusal(value);
      if (why !== undefined) context.addIssue({ code: 'custom', message: `precompiled_charsmap ${why}` });
    }),
  },
  Replace: replace,
  Prepend: { prepend: text.min(1) },
};

const PRE_TOKENIZERS: Readonly<Record<string, Fields>> = {
  ...{ BertPreTokenizer: {}, Whitespace: {}, WhitespaceSplit: {}, UnicodeScripts: {} },
  ByteLevel: byteLevel,
  CharDelimiterSplit: { delimiter: letter },
  Metaspace: metaspace,
  Split: { pattern, behavior, invert: flag(false) },
  Punctuation: { behavior: behavior.default('Isolated') },
  Digits: { individual_digits: flag(false) },
  FixedLength: {
    length: z
      .int()
      .min(1)
      .max(2 ** 31 - 1),
  },
};

const DECODERS: Readonly<Record<string, Fields>> = {
  ...{ Fuse: {}, ByteFallback: {} },
  ByteLevel: byteLevel,
  WordPiece: { prefix: text.default('##'), cleanup: flag(true) },
  Metaspace: metaspace,
  BPEDecoder: { suffix: text.default('</w>') },
  CTC: {
    pad_token: text.default('<pad>'),
    word_delimiter_token: text.default('|'),
    cleanup: flag(true),
  },
  Replace: replace,
  // The library cuts a text that is shorter than both ends together out of its bounds.
  Strip: { content: letter, start: z.int().min(0).max(100), stop: z.literal(0) },
};

/** A part with its fields checked, as the library takes it. */
export interface Component {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** The parts around a model, as the library takes them. */
export interface Components {
  readonly normalizer: Component | null;
  readonly preTokenizer: Component | null;
  readonly decoder: Component | null;
  /** Whether splitting a text takes a time that is at most proportional to its length. */
  readonly isLinear: boolean;
}

/**
 * Checks the parts around a model.
 *
 * @param refuse - throws an error about a part.
 */
export function componentsOf(
  file: { readonly normalizer?: unknown; readonly pre_tokenizer?: unknown; readonly decoder?: unknown },
  refuse: (why: string) => never,
): Components {
  const normalizer = part(
    file.normalizer,
    { at: 'normalizer', list: 'normalizers', types: NORMALIZERS },
    refuse,
  );
  const preTokenizer = part(
    file.pre_tokenizer,
    { at: 'pre_tokenizer', list: 'pretokenizers', types: PRE_TOKENIZERS },
    refuse,
  );
  const decoder = part(file.decoder, { at: 'decoder', list: 'decoders', types: DECODERS }, refuse);
  const all = [
    leaves(normalizer, 'normalizers'),
    leaves(preTokenizer, 'pretokenizers'),
    leaves(decoder, 'decoders'),
  ];
  const [normalizers = [], preTokenizers = [], decoders = []] = all;
  for (const [at, parts] of Object.entries({ normalizer: normalizers, decoder: decoders }))
    if (growthOf(parts) > MOST_GROWTH)
      refuse(`its ${at} makes a text more than ${MOST_GROWTH} times as long`);
  // Each writes letters for bytes, and the next would read these as characters of two bytes.
  if ([...normalizers, ...preTokenizers].filter(({ type }) => type === 'ByteLevel').length > 2)
    refuse('it turns text into the letters of bytes more than twice');
  return {
    normalizer,
    preTokenizer,
    decoder,
    isLinear: [...normalizers, ...preTokenizers].every(({ pattern: one }) => {
      const { Regex } = (one ?? {}) as { Regex?: string };
      return Regex === undefined || isLinear(Regex);
    }),
  };
}

interface Kind {
  readonly at: string;
  /** The field in which a Sequence has its parts. */
  readonly list: string;
  readonly types: Readonly<Record<string, Fields>>;
}

function part(value: unknown, kind: Kind, refuse: (why: string) => never): Component | null {
  let count = 0;
  const checked = (one: unknown, at: string, depth: number): Component => {
    if (typeof one !== 'object' || one === null || Array.isArray(one))
      return refuse(`${at} is not an object`);
    const { type, ...fields } = one as Record<string, unknown>;
    if (++count > MOST_PARTS) refuse(`its ${kind.at} has more than ${MOST_PARTS} parts`);
    if (type === 'Sequence') {
      if (depth >= MOST_DEPTH) refuse(`its ${kind.at} has sequences nested deeper than ${MOST_DEPTH}`);
      const list = fields[kind.list];
      if (!Array.isArray(list)) return refuse(`${at}.${kind.list} is not an array`);
      return {
        type,
        [kind.list]: list.map((inner, i) => checked(inner, `${at}.${kind.list}[${i}]`, depth + 1)),
      };
    }
    const known = typeof type === 'string' && Object.hasOwn(kind.types, type) ? kind.types[type] : undefined;
    if (!known)
      return refuse(
        `${at}.type is ${shown(type)}, not one of ${[...Object.keys(kind.types), 'Sequence'].join(', ')}`,
      );
    const result = z.object(known).safeParse(fields);
    if (result.success) return { type: type as string, ...result.data };
    const [issue] = result.error.issues;
    return refuse(`${[at, ...(issue?.path ?? [])].join('.')}: ${issue?.message ?? 'is not valid'}`);
  };
  return value === null || value === undefined ? null : checked(value, kind.at, 0);
}

/** The parts of all sequences in order. */
export function leaves(component: Component | null, list: string): Component[] {
  if (!component) return [];
  if (component.type !== 'Sequence') return [component];
  return (component[list] as Component[]).flatMap((one) => leaves(one, list));
}

function growthOf(parts: readonly Component[]): number {
  let growth = 1;
  for (const { type, pattern: replaced, content } of parts) {
    if (type !== 'Replace') continue;
    const one = replaced as Pattern;
    const least = 'String' in one ? Buffer.byteLength(one.String) : leastLength(one.Regex);
    growth *= Math.max(1, Buffer.byteLength(content as string) / least);
  }
  return growth;
}

export const shown = (value: unknown): string => (JSON.stringify(value) ?? String(value)).slice(0, 100);
