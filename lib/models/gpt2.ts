import { BATCH, type Graph } from '../graph/graph';
import { count, GraphBuilder, head, normal, ones, sinusoidal, vocabulary } from '../graph/builder';
import { width, zeros, type Value } from '../graph/builder';
import type { Family } from './family';
import { gpt2Schema, resolveGPT2Config, type GPT2Config, type GPT2Options } from './gpt2_config';
import { fromHuggingFace, GPT2_MODEL_TYPES, toHuggingFace, whatIsOwn } from './gpt2_config_file';

/**
 * GPT-2 (Radford et al. 2019) as a Graph: token, type and position embeddings, nLayer blocks of attention and MLP with
 * the norm before (pre) or after (post) each residual sum, and a head that is tied to the token embedding by default.
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

  const std = c.initializerRange;
  const matrix = { decay: true, transposedInFiles: true };
  const ids = (name: string, below: number): Value => g.input(name, [BATCH, time], { kind: 'ids', below });
  const table = (name: string, axis: string, init = normal(std), options = {}): Value =>
    g.parameter(name, [axis, embd], init, { decay: true, ...options });
  const linear = (name: string, x: Value, from: string, to: string, scale = 1): Value =>
    g.node('linear', name, {
      x,
      weight: g.parameter(`${name}.weight`, [to, from], normal(std * scale), matrix),
      bias: g.parameter(`${name}.bias`, [to], zeros),
    });
  const norm = (name: string, x: Value): Value => {
    const weight = g.parameter(`${name}.weight`, [embd], ones);
    const bias = g.parameter(`${name}.bias`, [embd], zeros);
    return g.node('layer_norm', name, { x, weight, bias }, { epsilon: c.layerNormEpsilon });
  };
  const dropout = (name: string, x: Value, p: number): Value =>
    p > 0 ? g.node('dropout', name, { x }, { p }) : x;

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
  x = dropout('transformer.drop', x, c.embdPdrop);

  // Residual branches start smaller the deeper the model, as GPT-2 does: std / sqrt(2 · nLayer).
  const residualScale = 1 / Math.sqrt(2 * c.nLayer);
  const attention = (name: string, y: Value, scale: object): Value => {
    const packed = linear(`${name}.c_attn`, y, embd, qkv);
    const mixing = { causal: c.isCausal, dropout: c.attnPdrop, ...scale };
    const mixed = g.node('attention', name, { qkv: packed, lengths, starts }, mixing);
    const out = linear(`${name}.c_proj`, mixed, heads, embd, residualScale);
    return dropout(`${name}.resid_dropout`, out, c.residPdrop);
  };
  const mlp = (name: string, y: Value): Value => {
    const wide = linear(`${name}.c_fc`, y, embd, inner);
    const hidden = g.node('activation', `${name}.act`, { x: wide }, { function: c.activationFunction });
    const out = linear(`${name}.c_proj`, hidden, inner, embd, residualScale);
    return dropout(`${name}.dropout`, out, c.residPdrop);
  };
  const residual = (name: string, normName: string, branch: (name: string, y: Value) => Value): void => {
    const post = c.normalization === 'post';
    const sum = g.node('add', `${name}.residual`, { a: x, b: branch(name, post ? x : norm(normName, x)) });
    x = post ? norm(normName, sum) : sum;
  };
  for (let i = 0; i < c.nLayer; i++) {
    const scale = attentionScale(c, i);
    residual(`transformer.h.${i}.attn`, `transformer.h.${i}.ln_1`, (name, y) => attention(name, y, scale));
    residual(`transformer.h.${i}.mlp`, `transformer.h.${i}.ln_2`, mlp);
  }
  if (c.normalization === 'pre') x = norm('transformer.ln_f', x);

  const headWeight = c.tieWordEmbeddings ? wte : table('lm_head.weight', vocab);
  const logits = g.node('linear', 'lm_head', { x, weight: headWeight });
  const logProbs = g.node('log_softmax', 'log_probs', { x: logits });
  const allowed = { kind: 'ids', below: c.vocabSize, ignored: c.ignoreIndex } as const;
  const targets = g.input('targets', [BATCH, time], allowed);
  const loss = g.node('cross_entropy', 'loss', { logits, targets }, { ignoreIndex: c.ignoreIndex });
  return g.build({ loss, logits, logProbs });
}

/** What attention scores of a block are multiplied by, where that is not the operation's default of 1 / √headDim. */
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
