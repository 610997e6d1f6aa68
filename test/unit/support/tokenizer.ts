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

/** The same without special tokens, with tokens across the places where a cut of a text suggests itself. */
export function cuttable(parts: object): ReturnType<typeof tinyTokenizer> {
  const json = { ...tinyTokenizer(), ...parts };
  const merges = ['č Ċ', 'čĊ Ċ', 'Ċ Ċ', 'Ċ Ġ', 'Ġ Ġ', 'ĠĠ ĠĠ', 'ĠĠĠĠ ĠĠĠĠ', ', l', '▁ ▁'];
  for (const token of ['▁', ...merges.map((merge) => merge.replace(' ', ''))])
    json.model.vocab[token] = Object.keys(json.model.vocab).length;
  json.model.merges.push(...merges);
  json.added_tokens = [];
  return json;
}

/** The first and the last of ids that follow one another. */
export type Ids = readonly [first: number, last: number];

/** A tokenizer.json of the numbers below `size`, which are their own ids, without those of a gap. */
export function gappedTokenizer(size: number, [first, last]: Ids): JsonTokenizer {
  const ids = Array.from({ length: size }, (_, id) => id).filter((id) => id < first || id > last);
  const vocab = Object.fromEntries(ids.map((id) => [String(id), id]));
  const model = { type: 'WordLevel', vocab, unk_token: '0' };
  return new JsonTokenizer(JSON.stringify({ pre_tokenizer: { type: 'WhitespaceSplit' }, model }));
}
