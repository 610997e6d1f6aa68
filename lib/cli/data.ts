import { openText } from '../data/text';
import { openSequences } from '../data/sequences/sequences';
import { openTokenizer } from '../data/tokenizers';
import { describedVocabSize, openTokens } from '../data/tokens';
import type { TokenData } from '../data/worker_dataset';
import { TesseraeError } from '../errors';
import type { ResolvedModelConfig } from '../models/families';
import { ByteProgress } from '../report/byte_progress';
import type { DataRun, SequencesRun } from './config';

/** Opens what a run's configuration trains on, in rows as long as the model takes. */
export async function openData(data: DataRun, model: ResolvedModelConfig): Promise<TokenData> {
  const blockSize = model.nPositions;
  if ('text' in data) {
    const { text, ...options } = data;
    return openText(text, { blockSize, ...options });
  }
  if ('sequences' in data) return openSequenceRun(data, model);
  const { tokens, tokenizer, ...options } = data;
  const described = await describedVocabSize(tokens[0] ?? '');
  const progress = new ByteProgress();
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
    `model.vocabSize ${model.vocabSize} is less than the ${opened.vocabSize} of the token files: leave it out`,
    { details: { path: 'model.vocabSize' } },
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
