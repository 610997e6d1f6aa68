import { ByteCount } from '../../../lib/data/byte_count';
import { ByteTokenizer } from '../../../lib/data/byte_tokenizer';
import { JsonTokenizer } from '../../../lib/data/json_tokenizer';
import { tinyTokenizer } from '../support/tokenizer';

const TEXT = 'the cat sat, é, 猫, 🐈';

it.each([new ByteTokenizer(), new JsonTokenizer(JSON.stringify(tinyTokenizer()))])(
  'counts the bytes of a text, however its tokens come ($name)',
  async (tokenizer) => {
    const ids = await tokenizer.encode(TEXT);
    for (const size of [1, 2, 3, ids.length]) {
      const count = new ByteCount(tokenizer);
      for (let at = 0; at < ids.length; at += size) count.add(ids.subarray(at, at + size));
      expect(count.end()).toBe(Buffer.byteLength(TEXT));
    }
  },
);

it('counts 0 for the end of a document, and each byte of invalid text', async () => {
  const words = new ByteCount(new JsonTokenizer(JSON.stringify(tinyTokenizer())));
  words.add(await new JsonTokenizer(JSON.stringify(tinyTokenizer())).encode('a<|endoftext|>b'));
  expect(words.end()).toBe(2);
  const bytes = new ByteCount(new ByteTokenizer());
  bytes.add([255, 195]);
  expect(bytes.end()).toBe(2);
});
