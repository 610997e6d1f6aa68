// The results in the README: suites that compare tesserae with a peer, with their order and names there.

/** Whether ratios compare tesserae with a row of a result: PyTorch, or transformers on top of it. */
const isPyTorch = ({ name }) => name.includes('PyTorch');

const best = (rows) => Math.max(...rows.map(({ median }) => median));

/** The speed of the fastest PyTorch among the rows of a result; -Infinity without any. */
export const fastestPyTorch = (rows) => best(rows.filter(isPyTorch));

/** Replaces `one GPU` by the chip of a result's machine: 'NVIDIA H200, driver 580' → 'one H200'. */
export const onChip = (text, machine) =>
  text.replace('one GPU', `one ${/^NVIDIA (\S+?),? /.exec(machine.name)?.[1] ?? 'GPU'}`);

/** Suite, description, name in the README's table and, if that depends on the row above, name in a picture. */
const rows = [
  ['gpt2_step', 'training', 'GPT-2 124M, T = 1024, batch 32, bf16, one GPU'],
  ['gpt2_step_fp16', 'training', 'the same in fp16', 'GPT-2 124M, T = 1024, batch 32, fp16, one GPU'],
  ['deep_step', 'training', '22 layers of 544 (17 heads), T = 200, batch 128, bf16, one GPU'],
  ['deep_step_fp16', 'training', 'the same in fp16', '22 layers of 544, T = 200, batch 128, fp16, one GPU'],
  ['cpu_step', 'training', 'the demo’s model, T = 128, batch 32, fp32, two CPU threads'],
  [
    'sampling',
    'sampling',
    'batch 1, prompt 16, 256 new tokens, one GPU',
    'GPT-2 124M, batch 1, bf16, one GPU',
  ],
  [
    'sampling_64',
    'sampling',
    'batch 64, prompts of 16, 256 new tokens, one GPU',
    'GPT-2 124M, batch 64, bf16, one GPU',
  ],
  [
    'sampling_long',
    'sampling',
    'batch 16, prompts of 900, 100 new tokens, one GPU',
    'GPT-2 124M, batch 16, prompts of 900, bf16, one GPU',
  ],
];

/**
 * @returns {{ kind: 'training' | 'sampling', name: string, title: string, own: number, peer: number, ratio: number,
 *   others: { name: string, median: number }[] }[]} tokens/s of tesserae, of the fastest PyTorch and of other peers in the
 * same run.
 */
export function comparisons(results) {
  return rows.map(([suite, kind, name, title = name]) => {
    const result = results.find((one) => one.suite === suite);
    if (!result) throw new Error(`benchmarks/results.jsonl has no result of the suite ${suite}`);
    const isOwn = (row) => row.name === 'tesserae';
    const [own, peer] = [best(result.rows.filter(isOwn)), fastestPyTorch(result.rows)];
    if (!Number.isFinite(peer))
      throw new Error(`the result of ${suite} has no PyTorch: measure it with --python`);
    const others = result.rows.filter((row) => !isOwn(row) && !isPyTorch(row));
    const [shortName, longName] = [onChip(name, result.machine), onChip(title, result.machine)];
    return { kind, name: shortName, title: longName, own, peer, ratio: own / peer, others };
  });
}

/** 525781 → `526 k`, 72717 → `72.7 k`, 2469 → `2,469`. */
export const shortCount = (value) =>
  value < 1e4
    ? Math.round(value).toLocaleString('en-US')
    : `${(value / 1000).toFixed(value < 1e5 ? 1 : 0)} k`;
