import { IdTokenizer } from '../../../lib/data/id_tokenizer';
import { failureOf } from '../support/errors';

const tokenizer = new IdTokenizer(32);

it('reads ids between spaces and commas, and writes them with spaces', () => {
  expect([...tokenizer.encode(' 1, 17\n4,31 ')]).toEqual([1, 17, 4, 31]);
  expect([...tokenizer.encode('')]).toEqual([]);
  expect(tokenizer.decode([1, 17, 4])).toBe('1 17 4');
  for (const [prompt, first] of [
    [[], '1'],
    [[31], ' 1'],
  ] as const) {
    const decoder = tokenizer.decoder(prompt);
    expect([decoder.push(1), decoder.push(17), decoder.end()]).toEqual([first, ' 17', '']);
  }
});

it.each(['32', '-1', '1.5', '1e1', 'the', '1;2', '9'.repeat(60)])('refuses %j', async (text) => {
  const { message } = await failureOf('ERR_DATA', () => tokenizer.encode(`3 ${text}`));
  expect(message).toContain(`'${text.slice(0, 40)}' is not a token id: ids are integers from 0 to 31`);
});

it('refuses ids beyond the vocabulary', async () => {
  await failureOf('ERR_DATA', () => tokenizer.decode([32]));
  await failureOf('ERR_DATA', () => tokenizer.decoder().push(-1));
});
