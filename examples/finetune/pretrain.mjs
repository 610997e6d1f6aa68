// @ts-check
import { Model, openText, saveModel, Trainer } from 'tesserae';

/**
 * Trains a small GPT on a text, byte by byte, and saves it: a folder as Hugging Face's GPT-2 has it.
 *
 * @param {string} text - its path.
 * @param {string} directory
 * @param {number} maxSteps
 */
export async function pretrain(text, directory, maxSteps) {
  const data = await openText(text, { blockSize: 128 });
  const { tokenizer, train, validation } = data;
  const size = { vocabSize: tokenizer.vocabSize, nPositions: 128, nEmbd: 96, nLayer: 4, nHead: 4 };
  const dropout = { residPdrop: 0, embdPdrop: 0, attnPdrop: 0 };
  const model = await Model.create({ type: 'gpt2', ...size, ...dropout }, { seed: 1 });
  const rate = { learningRate: 3e-3, warmupSteps: Math.min(100, Math.floor(maxSteps / 10)) };
  const args = { maxSteps, batchSize: 16, ...rate, evalSteps: 200 };
  for await (const event of new Trainer(model, { arguments: args, train, evaluation: validation }))
    if (event.type === 'evaluate')
      console.log(`pretraining  step ${event.step}  loss ${event.loss.toFixed(3)}`);
  await saveModel(model, directory, { tokenizer });
  await data.close();
  model.dispose();
}
