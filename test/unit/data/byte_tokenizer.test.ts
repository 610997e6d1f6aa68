import { ByteTokenizer } from '../../../lib/data/byte_tokenizer';
import { failureOf } from '../support/errors';

const tokenizer = new ByteTokenizer();

describe('ByteTokenizer', () => {
  it('encodes the bytes of UTF-8 and decodes them again', () => {
    expect([...tokenizer.encode('é\n')]).toEqual([195, 169, 10]);
    for (const text of ['', 'Call me Ishmael.', 'naïve — 漢字 😀', '\ufeffmark'])
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  });

  it('streams whole characters only', () => {
    const decoder = tokenizer.decoder();
    const pieces = [...tokenizer.encode('a😀b')].map((id) => decoder.push(id));
    expect(pieces).toEqual(['a', '', '', '', '😀', 'b']);
    expect(decoder.end()).toBe('');
  });

  it('completes a character that the prompt begins', () => {
    for (let split = 0; split <= 5; split++) {
      const ids = tokenizer.encode('aa😀');
      const decoder = tokenizer.decoder(ids.subarray(0, split));
      const pieces = Array.from(ids.subarray(split), (id) => decoder.push(id));
      expect(pieces.join('') + decoder.end()).toBe('aa😀'.slice(Math.min(split, 2)));
    }
  });

  it('shows bytes that are not UTF-8, and a character that was cut off, as U+FFFD', () => {
    expect(tokenizer.decode([97, 255, 98])).toBe('a\ufffdb');
    const decoder = tokenizer.decoder();
    expect(decoder.push(0xf0)).toBe('');
    expect(decoder.end()).toBe('\ufffd');
  });

  it.each([256, -1, 1.5, NaN])('refuses the id %p', async (id) => {
    expect((await failureOf('ERR_DATA', () => tokenizer.decode([id]))).message).toContain(String(id));
  });
});
