/** The worker thread that reads texts and token files and draws batches. */
import { TesseraeError } from '../errors';
import { throttled, type Progress } from '../threads/progress';
import { serve } from '../threads/server';
import { servedBatches, type BatchSource } from './batch_source';
import type { TextSizes } from './rows';
import { TextSource, type TextOptions } from './text_source';
import { TokenSource, type OpenedTokens, type TokenOptions } from './tokens/token_source';

let source: BatchSource | undefined;

const methods = {
  async openText(options: TextOptions): Promise<TextSizes> {
    const text = await TextSource.open(options);
    source = text;
    return text.sizes;
  },

  async openTokens(options: TokenOptions, onProgress?: Progress): Promise<OpenedTokens> {
    const tokens = await TokenSource.open(options, throttled(onProgress));
    source = tokens;
    return tokens.opened;
  },

  ...servedBatches(() => {
    if (!source)
      throw new TesseraeError('ERR_INTERNAL', 'the data worker got a request for rows before a text');
    return source;
  }),
};

/** The methods of the thread. */
export type DataWorker = typeof methods;

serve(methods, 'the data worker failed');
