import { isDeepStrictEqual } from 'node:util';
import { openText } from '../data/text';
import { openSequences } from '../data/sequences/sequences';
import type { Tokenizer } from '../data/tokenizer';
import { identityOf, openTokenizer } from '../data/tokenizers';
import { describedVocabSize, openTokens } from '../data/tokens';
import type { TokenData } from '../data/worker_dataset';
import { TesseraeError } from '../errors';
import type { ResolvedModelConfig } from '../models/families';
import type { Model } from '../models/model';
import { AmountProgress, bytesText } from '../report/amount_progress';
import type { DataRun, SequencesRun } from './config';

/**
 * Opens what a run's configuration trains on, in rows as long as the model takes.
 *
 * @param from - the checkpoint that the model comes from, if it is not a new one.
 */
export async function openData(data: DataRun, model: ResolvedModelConfig, from?: string): Promise<TokenData> {
  const blockSize = model.nPositions;
  if ('text' in data) {
    const { text, ...options } = data;
    return openText(text, { blockSize, ...options });
  }
  if ('sequences' in data) return openSequenceRun(data, model);
  const { tokens, tokenizer, ...options } = data;
  const described = await describedVocabSize(tokens[0] ?? '');
  const progress = new AmountProgress(bytesText);
  let opened: TokenData;
  try {
    opened = await openTokens(tokens.length === 1 ? (tokens[0] ?? '') : tokens, {
      ...{ blockSize, ...options, onProgress: progress.update },
      ...(tokenizer === undefined ? {} : { tokenizer: await openTokenizer(tokenizer) }),
      ...(described === undefined && tokenizer === undefined ? { vocabSize: model.vocabSize } : {}),
    });
  } finally {
    progress.stop();
  }
  if (opened.vocabSize <= model.vocabSize) return opened;
  await opened.close();
  throw new TesseraeError(
    'ERR_CONFIG',
    from === undefined
      ? `model.vocabSize ${model.vocabSize} is less than the ${opened.vocabSize} of the token files: leave it out`
      : `the token files have a vocabulary of ${opened.vocabSize}, but the model of '${from}' one of ${model.vocabSize}: make ` +
          'them with the tokenizer of that checkpoint',
    { details: { path: from === undefined ? 'model.vocabSize' : 'initFrom' } },
  );
}

async function openSequenceRun(
  { sequences, ...options }: SequencesRun,
  { nPositions: blockSize, vocabSize, nTypes, nStypes, ignoreIndex }: ResolvedModelConfig,
): Promise<TokenData> {
  const given = { blockSize, vocabSize, nTypes, nStypes, ignoreIndex, ...options };
  const { sizes, starts: _, ...data } = await openSequences(sequences, given);
  return { ...data, vocabSize, sizes: { train: sizes.train.tokens, validation: sizes.validation.tokens } };
}

/**
 * A model that comes from a checkpoint can only read data whose ids mean to it what they mean there.
 *
 * @param name - how errors call the checkpoint.
 * @throws TesseraeError `ERR_CONFIG` where tokenizers or vocabularies differ.
 */
export function requireSameTokens(
  name: string,
  { model, tokenizer: own }: { readonly model: Model; readonly tokenizer?: Tokenizer | undefined },
  { tokenizer, vocabSize }: Pick<TokenData, 'tokenizer' | 'vocabSize'>,
): void {
  const known = model.config.vocabSize;
  // Ids that nobody's tokenizer made can only be told by their range, which opening the data has checked.
  if (tokenizer === undefined) return;
  if (own ? isDeepStrictEqual(identityOf(own), identityOf(tokenizer)) : vocabSize <= known) return;
  const theirs = own ? `the '${own.name}' tokenizer` : `a vocabulary of ${known}`;
  const other = own?.name === tokenizer.name ? 'another' : 'the';
  throw new TesseraeError(
    'ERR_CONFIG',
    `${name} has ${theirs}, but the data is read with ${other} '${tokenizer.name}' tokenizer, of ` +
      `${vocabSize} tokens: their ids mean other things` +
      (own?.json === undefined
        ? ''
        : ". Make token files with 'tesserae prepare <texts> --tokenizer <the checkpoint>/tokenizer.json', and give them as " +
          'data.tokens'),
    { details: { path: 'initFrom' } },
  );
}
