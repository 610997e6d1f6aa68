import { TesseraeError } from '../errors';
import type { Tokenizer } from './tokenizer';

/** Tokens that a message names. */
const NAMED = 5;

/**
 * Checks that a model has a row for each token. It may have more: ids from `tokenizer.vocabSize` on have no token.
 *
 * @throws TesseraeError `ERR_CONFIG` that names the tokens it lacks.
 */
export function checkTokenizerFits(tokenizer: Tokenizer, vocabSize: number): void {
  const { name, vocabSize: tokens } = tokenizer;
  const lacking = tokens - vocabSize;
  if (lacking <= 0) return;
  const named = Array.from({ length: Math.min(NAMED, lacking) }, (_, i) => {
    const id = vocabSize + i;
    return `${id} (${JSON.stringify(tokenizer.decode([id]))})`;
  });
  const more = lacking > NAMED ? ` and ${lacking - NAMED} more` : '';
  throw new TesseraeError(
    'ERR_CONFIG',
    `the '${name}' tokenizer has ${tokens} tokens, but the model's vocabSize is ${vocabSize}: it has none of the tokens ` +
      `${named.join(', ')}${more}. Use the tokenizer that the model was trained with`,
    { details: { path: 'vocabSize' } },
  );
}
