// benchmarks/RESULTS.md: a table for each suite.
import { alignmentTable } from './alignment.mjs';
import { fastestPyTorch } from './comparisons.mjs';
import { layoutText, shapeText } from './gemm_names.mjs';
import { productMeans, ratioToBest } from './gemm_results.mjs';

const number = (value) => Math.round(value).toLocaleString('en-US');
const milliseconds = (seconds) => (seconds === undefined ? '' : (seconds * 1000).toFixed(1));
const microseconds = (seconds) => (seconds === undefined ? '' : (seconds * 1e6).toFixed(0));
const share = (part, whole) => `${((100 * part) / whole).toFixed(1)} %`;
const teraflops = (value) => (value / 1e12).toFixed(value >= 1e14 ? 0 : 1);
const rate = (value) => (value === undefined ? '' : teraflops(value));
const ratio = (value) => (value === undefined ? '' : value.toFixed(2));

/** A table by the kind of result. */
const tables = {
  speed({ unit, rows }) {
    const base = fastestPyTorch(rows);
    return [
      `| | median ${unit} | 10th – 90th percentile | samples | times PyTorch |`,
      '| --- | ---: | ---: | ---: | ---: |',
      ...rows.map(({ name, median, low, high, samples }) => {
        const ratio = name === 'tesserae' && Number.isFinite(base) ? `**${(median / base).toFixed(2)}**` : '';
        return `| ${name} | ${number(median)} | ${number(low)} – ${number(high)} | ${samples} | ${ratio} |`;
      }),
    ];
  },
  profile({ peer, rows, step }) {
    const total = (of) => rows.reduce((sum, row) => sum + (of(row) ?? 0), 0);
    const [own, theirs] = [total(({ seconds }) => seconds), total(({ peerSeconds }) => peerSeconds)];
    return [
      `| | tesserae, ms | share | roofline, ms | ${peer}, ms | share |`,
      '| --- | ---: | ---: | ---: | ---: | ---: |',
      ...rows.map(
        ({ name, seconds, plannedSeconds, peerSeconds }) =>
          `| ${name} | ${milliseconds(seconds)} | ${share(seconds, own)} | ${milliseconds(plannedSeconds)} | ` +
          `${milliseconds(peerSeconds)} | ${share(peerSeconds, theirs)} |`,
      ),
      `| sum of the kernels | ${milliseconds(own)} | | ${milliseconds(step.plannedSeconds)} | ${milliseconds(theirs)} | |`,
      `| a step as it runs | ${milliseconds(step.seconds)} | | | ${milliseconds(step.peerSeconds)} | |`,
    ];
  },
  bandwidth({ peer, rows }) {
    return [
      `| | MB moved | µs | 10th – 90th percentile | share of a copy | ${peer ?? 'PyTorch'}, µs |`,
      '| --- | ---: | ---: | ---: | ---: | ---: |',
      ...rows.map(
        ({ name, bytes, seconds, low, high, share, peerSeconds }) =>
          `| ${name} | ${number(bytes / 1e6)} | ${microseconds(seconds)} | ${microseconds(low)} – ${microseconds(high)} | ` +
          `${number(100 * share)} % | ${microseconds(peerSeconds)} |`,
      ),
    ];
  },
  delay({ rows }) {
    return [
      '| | median, ms | 99th percentile, ms | longest, ms | samples |',
      '| --- | ---: | ---: | ---: | ---: |',
      ...rows.map(
        ({ name, median, p99, max, samples }) =>
          `| ${name} | ${median.toFixed(1)} | ${p99.toFixed(1)} | ${max.toFixed(1)} | ${number(samples)} |`,
      ),
    ];
  },
  memory({ rows }) {
    return [
      '| | planned, MiB | driver, MiB | planned ÷ driver |',
      '| --- | ---: | ---: | ---: |',
      ...rows.map(
        ({ name, planned, driver }) =>
          `| ${name} | ${number(planned)} | ${number(driver)} | ${(planned / driver).toFixed(3)} |`,
      ),
    ];
  },
  products({ rows }) {
    const mean = ({ mean, count }) => (count > 0 ? `${ratio(mean)} (${count})` : '');
    return [
      '| geometric mean (number of products) | ours ÷ cuBLASLt’s first choice | ours ÷ cuBLASLt’s best |',
      '| --- | ---: | ---: |',
      ...productMeans(rows).map(({ name, first, best }) => `| ${name} | ${mean(first)} | ${mean(best)} |`),
      '',
      '| m × n × k | product | pieces | ours | cuBLASLt’s first choice | its best | its best and a kernel | ours ÷ its best |',
      '| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |',
      ...rows.map((row) => {
        const rates = ['own', 'first', 'best', 'separate'].map((key) => rate(row[key]));
        const cells = [shapeText(row), layoutText(row), row.pieces, ...rates, ratio(ratioToBest(row))];
        return `| ${cells.join(' | ')} |`;
      }),
    ];
  },
  alignment({ rows }) {
    const { titles, rows: cells } = alignmentTable(rows, teraflops);
    return [
      `| ${titles.join(' | ')} |`,
      `| ${titles.map((_, i) => (i < 3 ? '---' : '---:')).join(' | ')} |`,
      ...cells.map((row) => `| ${row.join(' | ')} |`),
    ];
  },
};

const head = `# Results

\`node benchmarks/report.mjs\` generates this page from \`benchmarks/results.jsonl\`, which has the latest result of each suite of
\`node benchmarks/run.mjs\`, \`npm run bench:gemm\` and \`npm run bench:alignment\`. In a suite, all subjects are sampled in turn in one
run, on random data, after a warm-up. [Matrix products](../docs/matrix_products.md) explains the tables of products.
`;

/** The page, of the results of all suites. */
export function resultsPage(results) {
  const sections = results.map((result) => {
    const { title, work, machine } = result;
    const taken = `${machine.name}, clocks ${machine.clocksMHz.join(' to ')} MHz, Node ${machine.node}, ${machine.date}.`;
    return [`## ${title}`, '', `${work}.`, '', ...tables[result.kind](result), '', taken].join('\n');
  });
  return `${head}\n${sections.join('\n\n')}\n`;
}
