import { TOKENIZER_JSON } from '../data/json_tokenizer';
import type { Tokenizer } from '../data/tokenizer';
import type { GPT2Config } from '../models/gpt2_config';

const TOKENIZER_CONFIG = 'tokenizer_config.json';
const GENERATION_CONFIG = 'generation_config.json';

/** All that `tokenizerFiles` gives. */
export const TOKENIZER_FILES: readonly string[] = [TOKENIZER_JSON, TOKENIZER_CONFIG, GENERATION_CONFIG];

/**
 * What transformers reads beside a model to make its text: `AutoTokenizer` tokenizer.json and what its tokens are for,
 * `generate` which tokens begin and end a text. A tokenizer that is built in has the last of these alone.
 */
export function tokenizerFiles(
  tokenizer: Tokenizer,
  { nPositions, bosTokenId, eosTokenId }: Pick<GPT2Config, 'nPositions' | 'bosTokenId' | 'eosTokenId'>,
): (readonly [name: string, text: string])[] {
  const eos = tokenizer.endOfTextToken ?? eosTokenId;
  const bos = tokenizer.json === undefined ? bosTokenId : (tokenizer.startToken ?? bosTokenId);
  const text = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;
  const generation = [GENERATION_CONFIG, text({ bos_token_id: bos, eos_token_id: eos })] as const;
  if (tokenizer.json === undefined) return [generation];
  const content = (given: typeof eosTokenId): string | null => {
    const [token = null] = [given].flat();
    return token !== null && token < tokenizer.vocabSize ? tokenizer.decode([token]) : null;
  };
  const config = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: content(bos),
    eos_token: content(eos),
    clean_up_tokenization_spaces: false,
    model_max_length: nPositions,
  };
  return [[TOKENIZER_JSON, tokenizer.json], [TOKENIZER_CONFIG, text(config)], generation];
}
