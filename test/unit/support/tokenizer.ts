import { JsonTokenizer } from '../../../lib/data/json_tokenizer';

/** GPT-2's letters for bytes, in the order of its vocabulary: printable ones first. */
function byteLetters(): string[] {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  const others = bytes.filter((byte) => !printable(byte));
  return [
    ...bytes.filter(printable).map((byte) => String.fromCharCode(byte)),
    ...others.map((_, index) => String.fromCharCode(256 + index)),
  ];
}

/** Pairs that English text has often, each made of tokens before it; Ġ is a space. */
const MERGES = [
  'Ġ t',
  'h e',
  'Ġt he',
  'i n',
  'Ġ a',
  'o n',
  'a t',
  'e r',
  'Ġ s',
  'Ġs at',
  'in g',
  'l l',
  'Ġ b',
];

/** A tokenizer.json as GPT-2's: byte-level BPE with a few merges, and `<|endoftext|>` last. */
export function tinyTokenizer(): Record<string, unknown> & {
  model: Record<string, unknown> & { vocab: Record<string, number>; merges: string[] };
  added_tokens: { id: number; content: string }[];
} {
  const merged = MERGES.map((merge) => merge.replace(' ', ''));
  const tokens = [...new Set([...byteLetters(), ...merged])];
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [
      {
        ...{ id: tokens.length, content: '<|endoftext|>', single_word: false },
        ...{ lstrip: false, rstrip: false, normalized: false, special: true },
      },
    ],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true },
    model: { type: 'BPE', dropout: null, unk_token: null, vocab, merges: [...MERGES] },
  };
}

/** The same without special tokens, with tokens across the obvious places to cut a text. */
export function cuttable(parts: object): ReturnType<typeof tinyTokenizer> {
  const json = { ...tinyTokenizer(), ...parts };
  const merges = ['č Ċ', 'čĊ Ċ', 'Ċ Ċ', 'Ċ Ġ', 'Ġ Ġ', 'ĠĠ ĠĠ', 'ĠĠĠĠ ĠĠĠĠ', ', l', '▁ ▁'];
  for (const token of ['▁', ...merges.map((merge) => merge.replace(' ', ''))])
    json.model.vocab[token] = Object.keys(json.model.vocab).length;
  json.model.merges.push(...merges);
  json.added_tokens = [];
  return json;
}

const table = (tokens: readonly string[]): Record<string, number> =>
  Object.fromEntries(tokens.map((token, id) => [token, id]));

const rest = { version: '1.0', truncation: null, padding: null, added_tokens: [], post_processor: null };

/** As Llama's: ▁ represents a space, and the decoder strips the first one of a text. */
export const SENTENCE_PIECE = {
  ...rest,
  normalizer: {
    type: 'Sequence',
    normalizers: [
      { type: 'Prepend', prepend: '▁' },
      { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    ],
  },
  pre_tokenizer: null,
  decoder: {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      { type: 'Strip', content: ' ', start: 1, stop: 0 },
    ],
  },
  model: {
    ...{ type: 'BPE', dropout: null, unk_token: '<unk>', fuse_unk: true, byte_fallback: false },
    ...{ continuing_subword_prefix: null, end_of_word_suffix: null },
    vocab: table(['<unk>', '▁', 't', 'h', 'e', 'c', 'a', 's', '▁t', '▁th', '▁the', '▁c']),
    merges: ['▁ t', '▁t h', '▁th e', '▁ c'],
  },
};

/** As BERT's: ## marks a token that continues a word. */
export const WORD_PIECE = {
  ...rest,
  normalizer: null,
  pre_tokenizer: { type: 'BertPreTokenizer' },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: false },
  model: {
    ...{
      type: 'WordPiece',
      unk_token: '<unk>',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
    },
    vocab: table(['<unk>', 'the', 'cat', '##s', 'sat', '##te', '##d']),
  },
};

/** As T5's: words begin with ▁, and a text is cut into its likeliest pieces. */
export const UNIGRAM = {
  ...rest,
  normalizer: null,
  pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
  decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
  model: {
    ...{ type: 'Unigram', unk_id: 0, byte_fallback: false },
    vocab: ['<unk>', '▁', 't', 'h', 'e', 'c', 'a', 's', '▁the', '▁c', 'at'].map((token, i) => [
      token,
      -i / 9,
    ]),
  },
};

/** As Gemma's: nothing is put before a text, and characters without a token are bytes. */
export const BYTE_FALLBACK = {
  ...rest,
  normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
  pre_tokenizer: { type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithPrevious', invert: false },
  decoder: {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
    ],
  },
  model: {
    ...{ type: 'BPE', dropout: null, unk_token: '<unk>', fuse_unk: true, byte_fallback: true },
    ...{ continuing_subword_prefix: null, end_of_word_suffix: null, ignore_merges: false },
    vocab: table([
      ...['<unk>', '▁', 't', 'h', 'e', 'c', 'a', 's', '▁t', '▁th', '▁the', '▁c'],
      ...Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
    ]),
    merges: ['▁ t', '▁t h', '▁th e', '▁ c'],
  },
};

/** The first and the last of ids that follow one another. */
export type Ids = readonly [first: number, last: number];

/** A tokenizer.json of the numbers below `size`, which are their own ids, except those in a gap. */
export function gappedTokenizer(size: number, [first, last]: Ids): JsonTokenizer {
  const ids = Array.from({ length: size }, (_, id) => id).filter((id) => id < first || id > last);
  const vocab = Object.fromEntries(ids.map((id) => [String(id), id]));
  const model = { type: 'WordLevel', vocab, unk_token: '0' };
  return new JsonTokenizer(JSON.stringify({ pre_tokenizer: { type: 'WhitespaceSplit' }, model }));
}
