import { BATCH, type Graph } from '../graph/graph';
import { count, GraphBuilder, head, normal, sinusoidal, vocabulary } from '../graph/builder';
import { width, type Value } from '../graph/builder';
import { Blocks } from './blocks';
import type { Family } from './family';
import { gpt2Schema, resolveGPT2Config, type GPT2Config, type GPT2Options } from './gpt2_config';
import { fromHuggingFace, GPT2_MODEL_TYPES, toHuggingFace, whatIsOwn } from './gpt2_config_file';

/**
 * GPT-2 (Radford et al. 2019) as a Graph: token, type and position embeddings, nLayer blocks of attention and MLP with
 * the norm before (pre) or after (post) each residual sum, and a head tied to the token embedding by default.
 */
export function gpt2(options: GPT2Options): Graph {
  const c = resolveGPT2Config(options);
  const g = new GraphBuilder('gpt2');
  const time = g.lengthAxis('time');
  const vocab = g.axis('vocab', vocabulary(c.vocabSize));
  const embd = g.axis('embd', width(c.nEmbd));
  const inner = g.axis('inner', width(c.nInner));
  const heads = g.axis('heads', count(c.nHead), head(c.headDim));
  const qkv = g.axis('qkv', count(3), count(c.nHead), head(c.headDim));

  const { initializerRange: std, layerNormEpsilon } = c;
  const blocks = new Blocks(g, { initializerRange: std, layerNormEpsilon, transposedInFiles: true });
  const ids = (name: string, below: number): Value => g.input(name, [BATCH, time], { kind: 'ids', below });
  const table = (name: string, axis: string, init = normal(std), options = {}): Value =>
    g.parameter(name, [axis, embd], init, { decay: true, ...options });

  const tokens = ids('tokens', c.vocabSize);
  // Later padding can't reach a causal position; everything else needs to know where a row ends.
  const lengths = c.isCausal ? undefined : g.input('lengths', [BATCH], { kind: 'lengths', measures: time });
  const starts = g.input('starts', [BATCH, time], { kind: 'starts', optional: true });
  const wte = table('transformer.wte.weight', vocab);
  let x = g.node('embedding', 'transformer.wte', { ids: tokens, weight: wte });
  const embed = (name: string, input: string, size: number): void => {
    const weight = table(`transformer.${name}.weight`, g.axis(name, count(size)));
    x = g.node('add', `transformer.${name}.sum`, {
      a: x,
      b: g.node('embedding', `transformer.${name}`, { ids: ids(input, size), weight }),
    });
  };
  if (c.nTypes > 0) embed('wtte', 'types', c.nTypes);
  if (c.nStypes > 0) embed('wste', 'subtypes', c.nStypes);
  if (c.positions !== 'none') {
    const positions = g.axis('positions', count(c.nPositions));
    const fixed = { decay: false, trainable: false, saved: false };
    const [init, options] = c.positions === 'learned' ? [normal(std), {}] : [sinusoidal, fixed];
    const weight = table('transformer.wpe.weight', positions, init, options);
    x = g.node('position_embedding', 'transformer.wpe', { x, weight, starts });
  }
  x = blocks.dropout('transformer.drop', x, c.embdPdrop);

  // Residual branches start smaller the deeper the model, as GPT-2 does: std / sqrt(2 · nLayer).
  const outScale = 1 / Math.sqrt(2 * c.nLayer);
  const [attn, mlp] = [['c_attn', 'c_proj'] as const, ['c_fc', 'c_proj'] as const];
  for (let i = 0; i < c.nLayer; i++) {
    const block = `transformer.h.${i}`;
    const norm = (name: string) => ({ name: `${block}.${name}`, axis: embd, place: c.normalization });
    const mixing = { causal: c.isCausal, dropout: c.attnPdrop, ...attentionScale(c, i) };
    x = blocks.residual(`${block}.attn.residual`, x, norm('ln_1'), (y) => {
      const options = { embd, qkv, heads, layers: attn, lengths, starts, mixing, outScale };
      const out = blocks.attention(`${block}.attn`, y, options);
      return blocks.dropout(`${block}.attn.resid_dropout`, out, c.residPdrop);
    });
    x = blocks.residual(`${block}.mlp.residual`, x, norm('ln_2'), (y) => {
      const options = { embd, inner, layers: mlp, activation: c.activationFunction, outScale };
      return blocks.dropout(`${block}.mlp.dropout`, blocks.mlp(`${block}.mlp`, y, options), c.residPdrop);
    });
  }
  if (c.normalization === 'pre') x = blocks.norm('transformer.ln_f', x, embd);

  const headWeight = c.tieWordEmbeddings ? wte : table('lm_head.weight', vocab);
  const logits = g.node('linear', 'lm_head', { x, weight: headWeight });
  const logProbs = g.node('log_softmax', 'log_probs', { x: logits });
  const allowed = { kind: 'ids', below: c.vocabSize, ignored: c.ignoreIndex } as const;
  const targets = g.input('targets', [BATCH, time], allowed);
  const loss = g.node('cross_entropy', 'loss', { logits, targets }, { ignoreIndex: c.ignoreIndex });
  return g.build({ loss, logits, logProbs });
}

/** The scale of a block's attention scores, if it differs from the operation's default of 1 / √headDim. */
function attentionScale(c: GPT2Config, block: number): { readonly scale?: number } {
  if (c.scaleAttnWeights && !c.scaleAttnByInverseLayerIdx) return {};
  const divisor =
    (c.scaleAttnWeights ? Math.sqrt(c.headDim) : 1) * (c.scaleAttnByInverseLayerIdx ? block + 1 : 1);
  return { scale: 1 / divisor };
}

/** GPT-2 as a model family. */
export const gpt2Family: Family<GPT2Options, GPT2Config> = {
  schema: gpt2Schema,
  resolve: resolveGPT2Config,
  graph: gpt2,
  lengthLimits: ({ nPositions }) => ({ time: nPositions }),
  tokens: (config) => config,
  configForm: {
    modelTypes: GPT2_MODEL_TYPES,
    write: toHuggingFace,
    read: (json) => fromHuggingFace(json).config,
    whatIsOwn,
  },
};
