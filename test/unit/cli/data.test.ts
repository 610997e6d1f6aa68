import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openData } from '../../../lib/cli/data';
import { resolveModelConfig } from '../../../lib/models/families';
import { tesserae } from '../support/command_line';
import { failureOf } from '../support/errors';
import { TINY } from '../support/tiny_model';

it('token files with more ids than the model has are refused, by what can be done about it', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'data-'));
  const [text, tokens] = [path.join(folder, 'text.txt'), path.join(folder, 'tokens')];
  await writeFile(text, 'the cat sat on the mat\n'.repeat(20));
  expect(await tesserae('prepare', text, '--output', tokens)).toMatchObject({ code: 0 });
  const model = resolveModelConfig(TINY, '');
  const own = await failureOf('ERR_CONFIG', () => openData({ tokens: [tokens] }, model));
  expect(own.message).toBe('model.vocabSize 32 is less than the 256 of the token files: remove it');
  expect(own.details).toEqual({ path: 'model.vocabSize' });
  const from = await failureOf('ERR_CONFIG', () => openData({ tokens: [tokens] }, model, 'gpt2'));
  expect(from.message).toMatch(/of 256, but the model of 'gpt2' has 32: make them with the tokenizer/);
  expect(from.details).toEqual({ path: 'initFrom' });
  await rm(folder, { recursive: true });
});
