import { ByteTokenizer } from './byte_tokenizer';
import type { Tokenizer } from './tokenizer';

/** Names of the tokenizers that checkpoints may ask for. */
export const TOKENIZER_NAMES = ['byte'] as const;

/** The tokenizer of that name, or undefined. */
export function tokenizerNamed(name: string): Tokenizer | undefined {
  return name === 'byte' ? new ByteTokenizer() : undefined;
}
