import { TesseraeError } from '../errors';
import type { Tokenizer } from './tokenizer';

/** Most tokens that an error names. */
const MOST_NAMED = 10;

/**
 * Checks that a model has a row for every token of a tokenizer. It may have more: vocabularies are rounded up.
 *
 * @param vocabSize - the vocabulary size of the model.
 * @param where - starts the message if the model comes from a file, such as `'gpt2'`.
 * @throws TesseraeError `ERR_CONFIG` with `details.path` 'vocabSize', which names the tokens that the model lacks.
 */
export function requireRowsFor(tokenizer: Tokenizer, vocabSize: number, where?: string): void {
  const { name, vocabSize: tokens } = tokenizer;
  if (tokens <= vocabSize) return;
  const named: string[] = [];
  for (let id = vocabSize; id < tokens && named.length < MOST_NAMED; id++) {
    const text = tokenizer.decode([id]);
    named.push(text === '' || text === '\uFFFD' ? `${id}` : `${JSON.stringify(text)} (${id})`);
  }
  const more = tokens - vocabSize - named.length;
  const lacking = named.join(', ') + (more > 0 ? ` and ${more} more` : '');
  throw new TesseraeError(
    'ERR_CONFIG',
    `${where === undefined ? '' : `${where}: `}the '${name}' tokenizer has ${tokens} tokens, more than the model's vocabSize ` +
      `${vocabSize}: the model lacks ${lacking}. Create the model with vocabSize ${tokens}, or resize it with Python ` +
      `(model.resize_token_embeddings(${tokens})), or remove these tokens from the tokenizer`,
    { details: { path: 'vocabSize', vocabSize, tokens } },
  );
}
