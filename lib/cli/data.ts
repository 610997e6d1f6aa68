import { isDeepStrictEqual } from 'node:util';
import { openText } from '../data/text';
import { openSequences } from '../data/sequences/sequences';
import type { Tokenizer } from '../data/tokenizer';
import { identityOf, openTokenizer } from '../data/tokenizers';
import { describedVocabSize, openTokens } from '../data/tokens';
import type { TokenData } from '../data/worker_dataset';
import { TesseraeError } from '../errors';
import { requireTokens, type ResolvedModelConfig } from '../models/families';
import type { TokenSettings } from '../models/family';
import type { Model } from '../models/model';
import { AmountProgress, bytesText } from '../report/amount_progress';
import type { DataRun, SequencesRun } from './config';

/**
 * Opens the data of a run's configuration, in rows of the model's nPositions.
 *
 * @param from - the checkpoint that the model comes from, if it is not a new one.
 */
export async function openData(data: DataRun, model: ResolvedModelConfig, from?: string): Promise<TokenData> {
  const settings = requireTokens(model, 'data of tokens');
  const { nPositions: blockSize, vocabSize } = settings;
  if ('text' in data) {
    const { text, ...options } = data;
    return openText(text, { blockSize, ...options });
  }
  if ('sequences' in data) return openSequenceRun(data, settings);
  const { tokens, tokenizer, ...options } = data;
  const described = await describedVocabSize(tokens[0] ?? '');
  const progress = new AmountProgress(bytesText);
  let opened: TokenData;
  try {
    opened = await openTokens(tokens.length === 1 ? (tokens[0] ?? '') : tokens, {
      ...{ blockSize, ...options, onProgress: progress.update },
      ...(tokenizer === undefined ? {} : { tokenizer: await openTokenizer(tokenizer) }),
      ...(described === undefined && tokenizer === undefined ? { vocabSize } : {}),
    });
  } finally {
    progress.stop();
  }
  if (opened.vocabSize <= vocabSize) return opened;
  await opened.close();
  throw new TesseraeError(
    'ERR_CONFIG',
    from === undefined
      ? `model.vocabSize ${vocabSize} is less than the ${opened.vocabSize} of the token files: remove it`
      : `the token files have a vocabulary of ${opened.vocabSize}, but the model of '${from}' has ${vocabSize}: make ` +
          'them with the tokenizer of that checkpoint',
    { details: { path: from === undefined ? 'model.vocabSize' : 'initFrom' } },
  );
}

async function openSequenceRun(
  { sequences, ...options }: SequencesRun,
  { nPositions: blockSize, vocabSize, nTypes, nStypes, ignoreIndex }: TokenSettings,
): Promise<TokenData> {
  const given = { blockSize, vocabSize, nTypes, nStypes, ignoreIndex, ...options };
  const { sizes, starts: _, ...data } = await openSequences(sequences, given);
  return { ...data, vocabSize, sizes: { train: sizes.train.tokens, validation: sizes.validation.tokens } };
}

/**
 * A model from a checkpoint can only use data whose ids have the same meaning.
 *
 * @param name - of the checkpoint, for errors.
 * @throws TesseraeError `ERR_CONFIG` if tokenizers or vocabularies differ.
 */
export function requireSameTokens(
  name: string,
  { model, tokenizer: own }: { readonly model: Model; readonly tokenizer?: Tokenizer | undefined },
  { tokenizer, vocabSize }: Pick<TokenData, 'tokenizer' | 'vocabSize'>,
): void {
  const known = model.tokens('a tokenizer').vocabSize;
  // Without a tokenizer only the range of ids can be compared; opening the data has checked it.
  if (tokenizer === undefined) return;
  if (own ? isDeepStrictEqual(identityOf(own), identityOf(tokenizer)) : vocabSize <= known) return;
  const theirs = own ? `the '${own.name}' tokenizer` : `a vocabulary of ${known}`;
  const other = own?.name === tokenizer.name ? 'another' : 'the';
  throw new TesseraeError(
    'ERR_CONFIG',
    `${name} has ${theirs}, but the data uses ${other} '${tokenizer.name}' tokenizer with ` +
      `${vocabSize} tokens, whose ids mean something else` +
      (own?.json === undefined
        ? ''
        : ". Make token files with 'tesserae prepare <texts> --tokenizer <the checkpoint>/tokenizer.json', and use them as " +
          'data.tokens'),
    { details: { path: 'initFrom' } },
  );
}
