/** A worker thread that tokenizes segments of inputs for `prepare/prepare.ts`. */
import { TesseraeError } from '../errors';
import { serve } from '../threads/server';
import { transfer } from '../threads/transfer';
import { Encoder, type EncoderSource } from './json_tokenizer/encoder';
import { encodeSegment, type EncodedSegment, type EncodingOptions } from './prepare/encode';
import type { Segment } from './prepare/segments';

let encoder: Encoder | undefined;
let isReady = false;

const methods = {
  /** Sets the tokenizer; without a source, the byte tokenizer. */
  useTokenizer(source: EncoderSource | undefined): void {
    encoder = source && new Encoder(source);
    isReady = true;
  },

  async encode(segment: Segment, options: EncodingOptions): Promise<EncodedSegment> {
    if (!isReady) throw new TesseraeError('ERR_INTERNAL', 'a worker got a text before a tokenizer');
    const encoded = await encodeSegment(segment, options, encoder);
    return transfer(encoded, [encoded.tokens]);
  },
};

/** The methods of the thread. */
export type PrepareWorker = typeof methods;

serve(methods, 'the data worker failed');
