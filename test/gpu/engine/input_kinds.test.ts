import type { Batch, Precision } from '../../../lib/native';
import { withModel } from '../../unit/support/native';
import { twoStreams } from '../../unit/support/two_streams';
import { gpu } from '../support/gpu';

/** 3 rows of 2 patches with 5 pixels: padded to 8, so each row ends with bytes that are not the next row's. */
const bytes = Uint8Array.from({ length: 3 * 2 * 5 }, (_, i) => (i * 37) % 256);
const caption = Int32Array.from({ length: 3 * 4 }, (_, i) => i % 7);

async function run(dtype: 'float32' | 'uint8', precision: Precision, inputs: Batch): Promise<Float32Array> {
  return withModel(twoStreams(dtype), { device: gpu, precision }, async (model) => {
    const { outputs } = await model.run(
      { mode: 'eval', rows: 3, lengths: { patches: 2, words: 4 }, outputs: ['seen', 'read'] },
      inputs,
      { poison: true },
    );
    return outputs['seen']!.data as Float32Array;
  });
}

/** bf16 has 8 significant bits, so the numbers of bytes are exact in every precision. */
test.each<Precision>(['fp32', 'tf32', 'bf16', 'fp16'])(
  'bytes count as their numbers in %s',
  async (precision) => {
    const ofBytes = await run('uint8', precision, { image: bytes, caption });
    expect(ofBytes.every(Number.isFinite)).toBe(true);
    expect(ofBytes.some((value) => value !== 0)).toBe(true);
    expect(await run('float32', precision, { image: Float32Array.from(bytes), caption })).toEqual(ofBytes);
  },
);
