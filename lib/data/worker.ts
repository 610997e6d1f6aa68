/** The worker thread that reads texts and token files and draws batches. */
import { TesseraeError } from '../errors';
import { throttled, type Progress } from '../threads/progress';
import { serve } from '../threads/server';
import { transfer } from '../threads/transfer';
import type { BatchRequest } from './dataset';
import type { Crops, SplitName, TextSizes } from './rows';
import { TextSource, type TextOptions } from './text_source';
import { TokenSource, type OpenedTokens, type TokenOptions } from './tokens/token_source';

let source: TextSource | TokenSource | undefined;

function opened(): TextSource | TokenSource {
  if (!source) throw new TesseraeError('ERR_INTERNAL', 'the data worker was asked for rows before a text');
  return source;
}

const moved = (crops: Crops): Crops => transfer(crops, [crops.tokens, crops.targets]);

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

  crops: (split: SplitName, request: BatchRequest): Crops => moved(opened().crops(split, request)),

  windows(split: SplitName, index: number, rows: number, batches: number): Crops | undefined {
    const crops = opened().windows(split, index, rows, batches);
    return crops && moved(crops);
  },
};

/** What the thread serves. */
export type DataWorker = typeof methods;

serve(methods, 'the data worker failed');
