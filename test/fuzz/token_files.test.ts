import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { readSegment } from '../../lib/data/prepare/segment_reader';
import { segmentsOf } from '../../lib/data/prepare/segments';
import { descriptionPath, llmcHeader } from '../../lib/data/tokens/format';
import { TokenFile } from '../../lib/data/tokens/token_file';
import { TesseraeError } from '../../lib/errors';

let folder: string;
let file: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'fuzz-tokens-'));
  file = path.join(folder, 'train.bin');
});
afterAll(() => rmSync(folder, { recursive: true }));

const bytes = fc.uint8Array({ maxLength: 64 });

/** What is neither accepted nor refused with a code is a mistake. */
function onlyCoded(error: unknown): void {
  if (!(error instanceof TesseraeError) || !['ERR_DATA', 'ERR_CONFIG'].includes(error.code)) throw error;
}

describe('a token file of any bytes', () => {
  const word = fc.oneof(fc.integer(), fc.constantFrom(20240520, 20240801, 1, 7, 0, -1, 8, 2 ** 31 - 1));
  const header = fc.tuple(word, word, word).map((words) => {
    const made = Buffer.from(llmcHeader('uint16', 0));
    words.forEach((value, index) => made.writeInt32LE(value, index * 4));
    return made;
  });
  const contents = fc.oneof(
    bytes,
    fc.tuple(header, bytes).map((parts) => Buffer.concat(parts)),
    fc.tuple(header, fc.nat(1024)).map(([start, length]) => start.subarray(0, length)),
  );
  const description = fc.oneof(
    fc.constant(undefined),
    fc.json(),
    fc
      .record(
        {
          version: fc.constantFrom(1, 2),
          format: fc.constantFrom('nanogpt', 'llmc', 'other'),
          dtype: fc.constantFrom('uint16', 'uint32'),
          vocabSize: fc.oneof(fc.nat(70_000), fc.double()),
          tokens: fc.oneof(fc.nat(40), fc.double(), fc.constant(2 ** 53)),
          sha256: fc.constantFrom('0'.repeat(64), 'x'),
        },
        { requiredKeys: ['format', 'dtype', 'tokens'] },
      )
      .map((value) => JSON.stringify(value)),
  );

  it('is read within its size and its vocabulary, or refused with a code', async () => {
    await fc.assert(
      fc.asyncProperty(contents, description, fc.boolean(), async (content, about, verify) => {
        writeFileSync(file, content);
        rmSync(descriptionPath(file), { force: true });
        if (about !== undefined) writeFileSync(descriptionPath(file), about);
        try {
          const options = about === undefined ? { vocabSize: 60_000, verify } : { verify };
          const opened = await TokenFile.open(file, options, () => undefined);
          try {
            expect(opened.tokens).toBeLessThanOrEqual(content.length / 2);
            const ids = new Int32Array(opened.tokens);
            opened.read(0, opened.tokens, ids, 0);
            for (const id of ids) expect(id >= 0 && id < opened.vocabSize).toBe(true);
          } finally {
            opened.close();
          }
        } catch (error) {
          onlyCoded(error);
        }
      }),
      { seed: 5, numRuns: 1000 },
    );
  });
});

describe('an input of any bytes', () => {
  const texts = fc.string({
    unit: fc.constantFrom('a', ' ', '\n', '\r', 'é', '"', '{', '}', '{"text":"b"}', '😀'),
  });
  const lines = fc
    .array(fc.constantFrom('{"text":"b"}', '{"text":"é😀"}', '', ' ', '{"text":""}'))
    .chain((all) => fc.constantFrom('\n', '\r\n', '\n\n').map((end) => all.join(end)));
  const contents = fc.oneof(
    bytes,
    fc.oneof(texts, lines).map((text) => new TextEncoder().encode(text)),
  );

  it('is cut into segments with the same contents, or refused with a code', async () => {
    await fc.assert(
      fc.asyncProperty(
        contents,
        fc.constantFrom('text', 'jsonl'),
        fc.integer({ min: 1, max: 20 }),
        async (content, kind, size) => {
          writeFileSync(file, content);
          const read = async (segmentBytes: number): Promise<string | undefined> => {
            const all = [];
            try {
              for (const segment of segmentsOf(
                [{ path: file, kind, bytes: content.length }],
                0,
                segmentBytes,
              ))
                for await (const { text, ends } of readSegment(segment, 'text'))
                  all.push(text, ends ? '\0' : '');
            } catch (error) {
              onlyCoded(error);
              return undefined;
            }
            return all.join('');
          };
          expect(await read(size)).toBe(await read(2 ** 20));
        },
      ),
      { seed: 6, numRuns: 1000 },
    );
  });
});

test('a line of megabytes of brackets is refused before it is parsed, and one of text is read', async () => {
  const read = async (line: string): Promise<string> => {
    writeFileSync(file, line);
    const [segment] = segmentsOf([{ path: file, kind: 'jsonl', bytes: Buffer.byteLength(line) }], 0);
    const texts = [];
    for await (const { text } of readSegment(segment!, 'text')) texts.push(text);
    return texts.join('');
  };
  const many = 2 ** 22 + 1;
  for (const line of ['['.repeat(many), `{"text":"a","more":[${'{},'.repeat(many)}1]}`])
    await expect(read(line)).rejects.toThrow(/has more than 4194304 values/);
  const text = '[{,"\\'.repeat(many / 4);
  expect(await read(JSON.stringify({ text }))).toBe(text);
});
