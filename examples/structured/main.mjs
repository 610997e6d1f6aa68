// @ts-check
// Learns to draw floor plans, and samples them with and without a mask of the tokens that make sense.
//
//   node examples/structured/main.mjs                          # two to four minutes on two cores; writes runs/structured
//   TESSERAE_DEMO_STEPS=50 node examples/structured/main.mjs   # a shorter look
import { writeFile } from 'node:fs/promises';
import { Model, openSequences, RunReport, Sampler, Trainer } from 'tesserae';
import { run } from '../run.mjs';
import { ratesSvg, samplesSvg } from './draw.mjs';
import { allowedTokens, END, LENGTH, parsePlan, tokenizer, tokenMask, tokensOf } from './language.mjs';
import { nStypes, nTypes, subtypes, types } from './language.mjs';
import { makePlan, tiles } from './plans.mjs';

const maxSteps = Number(process.env.TESSERAE_DEMO_STEPS ?? 2000);
const directory = 'runs/structured';

async function main() {
  // 1. The data: sequences of tokens. Types say what a token is, subtypes which room it belongs to.
  const plans = Array.from({ length: 30_000 }, (_, seed) => {
    const tokens = tokensOf(makePlan(seed));
    return { tokens, types: types.slice(0, tokens.length), subtypes: subtypes.slice(0, tokens.length) };
  });
  const ids = { vocabSize: tokenizer.vocabSize, nTypes, nStypes };
  const data = await openSequences(plans, { ...ids, blockSize: LENGTH });

  // 2. The model, and its training.
  const size = { nPositions: LENGTH, nEmbd: 96, nLayer: 4, nHead: 4 };
  const dropout = { residPdrop: 0, embdPdrop: 0, attnPdrop: 0 };
  const model = await Model.create({ type: 'gpt2', ...ids, ...size, ...dropout }, { seed: 1 });
  const rate = { learningRate: 3e-3, warmupSteps: Math.min(100, Math.floor(maxSteps / 10)) };
  const trainer = new Trainer(model, {
    train: data.train,
    evaluation: data.validation,
    arguments: { maxSteps, batchSize: 64, ...rate, evalSteps: 250, outputDir: directory },
  });
  const report = await RunReport.create({ directory, maxSteps, title: 'Floor plans', follow: trainer });
  for await (const event of trainer) report.add(event);
  await report.close();

  // 3. Samples at several temperatures, with and without masks: how many are plans, and in how many the rooms fill the house
  // and do not overlap, which no mask asks for.
  const sampler = new Sampler(model, tokenizer, { trainingStarts: data.starts });
  /** @param {import('tesserae').GenerateOptions} options */
  async function sample(options) {
    const positions = { types: { byPosition: types }, subtypes: { byPosition: subtypes } };
    const common = { maxNewTokens: LENGTH - 1, eosTokenId: END, numReturnSequences: 200 };
    const made = await sampler.generate(['START'], { ...common, ...positions, ...options });
    return made.map(({ tokens }) => parsePlan([...tokenizer.encode('START'), ...tokens]));
  }
  /** @param {readonly import('./draw.mjs').Plan[]} samples */
  const parsed = (samples) => samples.filter((plan) => plan !== undefined).length / samples.length;
  /** @param {readonly import('./draw.mjs').Plan[]} samples */
  const tiled = (samples) => samples.filter((plan) => plan && tiles(plan)).length / samples.length;

  const names = ['parse', 'parse, masked', 'tile', 'tile, masked'];
  const line = (/** @type {readonly unknown[]} */ cells) =>
    cells.map((cell) => `${cell}`.padStart(14)).join(' ');
  console.log(`\n${line(['temperature', ...names])}`);
  /** @type {import('./draw.mjs').Row[]} */
  const rows = [];
  for (const temperature of [0.5, 0.8, 1, 1.3, 1.6]) {
    // The same seeds with and without: where no mask steps in, the same plans.
    const seed = rows.length * 1000;
    const without = await sample({ temperature, seed });
    const masked = await sample({ temperature, seed, allowedTokens, tokenMask });
    const rates = [parsed(without), parsed(masked), tiled(without), tiled(masked)];
    rows.push({ temperature, without, masked, rates });
    console.log(line([temperature, ...rates.map((rate) => `${(100 * rate).toFixed(1)} %`)]));
  }
  await writeFile(`${directory}/samples.svg`, samplesSvg(rows, 6));
  await writeFile(`${directory}/rates.svg`, ratesSvg(rows, names));
  console.log(`\nsamples  ${directory}/samples.svg\nrates    ${directory}/rates.svg`);
  await data.close();
  model.dispose();
}

run(main);
