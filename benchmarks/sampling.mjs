// Sampling through the public API, compared with Hugging Face's generate (compiled, with a static cache) on the same model with
// random weights. Each sample is one call that draws tokens at temperature 1.
import { Model, Sampler } from 'tesserae';
import { machine, measure, peer, perSecond } from './lib/measure.mjs';
import { configOf, gpt2 } from './lib/models.mjs';

const shape = gpt2;

const cases = {
  sampling: { title: 'batch 1', rows: 1, prompt: 16, fresh: 256 },
  sampling_64: { title: 'batch 64', rows: 64, prompt: 16, fresh: 256 },
  sampling_long: { title: 'long prompts, batch 16', rows: 16, prompt: 900, fresh: 100 },
};

export const suites = Object.keys(cases);

/** Token ids in, token ids out. */
const ids = {
  name: 'ids',
  vocabSize: shape.vocabSize,
  encode: () => new Int32Array(0),
  decode: () => '',
  decoder: () => ({ push: () => '', end: () => '' }),
};

async function tesserae({ rows, prompt, fresh }) {
  const model = await Model.create(configOf(shape), { device: 'cuda', precision: 'bf16', seed: 1 });
  const sampler = new Sampler(model, ids);
  const prompts = Array.from({ length: rows }, () =>
    Int32Array.from({ length: prompt }, () => Math.floor(Math.random() * shape.vocabSize)),
  );
  return {
    name: 'tesserae',
    async sample() {
      const start = performance.now();
      const made = await sampler.generate(prompts, { maxNewTokens: fresh, eosTokenId: [] });
      const seconds = (performance.now() - start) / 1000;
      if (made.some(({ tokens }) => tokens.length !== fresh)) throw new Error('a sequence ended early');
      return seconds;
    },
    close() {
      model.dispose();
    },
  };
}

export async function run(suite, { python, samples }) {
  const one = cases[suite];
  const script = new URL('./peers/sampling.py', import.meta.url).pathname;
  const wanted = JSON.stringify({ rows: one.rows, prompt: one.prompt, new: one.fresh, shape });
  const started = await peer(python, [script, wanted]).catch(() => undefined);
  if (!started) console.error(`${suite}: transformers did not start`);
  const results = await measure([await tesserae(one), ...(started ? [started] : [])], { samples });
  const tokens = one.rows * one.fresh;
  return {
    suite,
    kind: 'speed',
    title: `Sampling from GPT-2 124M on one GPU, ${one.title}, bf16`,
    work: `GPT-2 form, ${shape.nLayer} layers, d ${shape.nEmbd}, ${shape.nHead} heads, vocabulary ${shape.vocabSize}, ${one.rows} prompts of ${one.prompt} tokens, ${one.fresh} new ones each, temperature 1`,
    unit: 'tokens/s',
    machine: machine('cuda'),
    precision: 'bf16',
    rows: perSecond(results, tokens),
  };
}
