// How fast batches come from a token file of 6 GiB, and from a text in memory for comparison; prints a JSON line.
//   node benchmarks/token_rows.mjs
// The file is sparse, but its pages are read and cached like those of any other file.
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openText, openTokens } from 'tesserae';
import { machine, measure } from './lib/measure.mjs';

const [rows, blockSize, bytes] = [32, 1024, 6 * 2 ** 30];
const samples = 200;

const folder = await mkdtemp(path.join(tmpdir(), 'token-rows-'));
try {
  const file = path.join(folder, 'train.bin');
  const handle = await open(file, 'w');
  await handle.truncate(bytes);
  await handle.close();
  const about = {
    version: 1,
    format: 'nanogpt',
    dtype: 'uint16',
    vocabSize: 50257,
    tokens: bytes / 2,
    sha256: '0'.repeat(64),
  };
  await writeFile(path.join(folder, 'train.json'), JSON.stringify(about));
  const text = path.join(folder, 'book.txt');
  await writeFile(text, 'the quick brown fox jumps over the lazy dog. '.repeat(50_000));

  const subject = (name, { train }, distinct) => {
    let step = 0;
    return {
      name,
      async sample() {
        const start = performance.now();
        await train.batch({ seed: 1, step: distinct ? step++ : 0, microStep: 0, rows });
        return (performance.now() - start) / 1000;
      },
    };
  };
  const fromText = await openText(text, { blockSize });
  const fromTokens = await openTokens(file, { blockSize });
  const subjects = [
    subject('token file, rows never read before', fromTokens, true),
    subject('token file, rows in the page cache', fromTokens, false),
    subject('text in memory', fromText, true),
  ];
  const measured = await measure(subjects, { samples });
  const results = measured.map(({ median, ...one }) => ({
    ...one,
    median,
    rowsPerSecond: Math.round(rows / median),
    tokensPerSecond: Math.round((rows * blockSize) / median),
  }));
  console.log(
    JSON.stringify({ suite: 'token_rows', rows, blockSize, bytes, machine: machine('cpu'), results }),
  );
  await Promise.all([fromText.close(), fromTokens.close()]);
} finally {
  await rm(folder, { recursive: true });
}
