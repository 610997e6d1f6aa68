// The README's tables of figures, between the marks that surround them there.
import { comparisons, onChip, shortCount } from './comparisons.mjs';
import { betweenMarks } from './marks.mjs';

const heads = {
  training: ['training step', 'tesserae', 'PyTorch 2.11, the better of eager and compile'],
  sampling: ['sampling, GPT-2 124M, bf16', 'tesserae', 'transformers 5.17, static cache, compiled'],
};

function table(kind, all) {
  const lines = all
    .filter((one) => one.kind === kind)
    .flatMap(({ name, own, peer, ratio, others }) => [
      `| ${name} | ${shortCount(own)} tokens/s | ${shortCount(peer)} tokens/s | ${ratio.toFixed(2)} × |`,
      ...others.map((other) => `| the same | | ${other.name}: ${shortCount(other.median)} tokens/s | |`),
    ]);
  return [`| ${heads[kind].join(' | ')} | |`, '| --- | ---: | ---: | ---: |', ...lines].join('\n');
}

/** How late JavaScript's timers are while a model trains. */
function delayTable(results) {
  const lines = results
    .filter(({ kind }) => kind === 'delay')
    .map(({ title, machine, rows: [{ p99, max }] }) => {
      const where = onChip(/, ([^,]*)$/.exec(title)[1], machine);
      return `| ${where} | ${p99.toFixed(1)} ms | ${max.toFixed(0)} ms |`;
    });
  return [
    '| delay of timers while training | 99th percentile | longest |',
    '| --- | ---: | ---: |',
    ...lines,
  ].join('\n');
}

/** The README with tables of these results. */
export function withTables(readme, results) {
  const all = comparisons(results);
  const tables = {
    ...Object.fromEntries(Object.keys(heads).map((kind) => [kind, table(kind, all)])),
    delay: delayTable(results),
  };
  return Object.entries(tables).reduce(
    (text, [kind, table]) => betweenMarks(text, kind, table, 'README.md'),
    readme,
  );
}
