import { TesseraeError } from '../../../lib/errors';
import { resolveGPT2Config } from '../../../lib/models/gpt2_config';
import { fromHuggingFace, toHuggingFace } from '../../../lib/models/gpt2_config_file';

/** The error that `action` throws. */
function failure(action: () => unknown): TesseraeError {
  try {
    action();
  } catch (error) {
    if (error instanceof TesseraeError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const resolve = (options: object): unknown => resolveGPT2Config(options);

describe('resolveGPT2Config', () => {
  it("fills in Hugging Face's defaults", () => {
    expect(resolveGPT2Config()).toEqual({
      vocabSize: 50257,
      nPositions: 1024,
      nEmbd: 768,
      nLayer: 12,
      nHead: 12,
      headDim: 64,
      scaleAttnWeights: true,
      scaleAttnByInverseLayerIdx: false,
      nInner: 3072,
      activationFunction: 'gelu_new',
      residPdrop: 0.1,
      embdPdrop: 0.1,
      attnPdrop: 0.1,
      layerNormEpsilon: 1e-5,
      initializerRange: 0.02,
      tieWordEmbeddings: true,
      bosTokenId: 50256,
      eosTokenId: 50256,
      isEncoder: false,
      isCausal: true,
      nTypes: 0,
      nStypes: 0,
      positions: 'learned',
      normalization: 'pre',
      ignoreIndex: -100,
    });
  });

  it('leaves special tokens out of a vocabulary that has none', () => {
    expect(resolveGPT2Config({ vocabSize: 256 })).toMatchObject({ bosTokenId: null, eosTokenId: null });
  });

  it.each([8, 16, 17])('runs 544 with %d heads', (nHead) => {
    expect(resolveGPT2Config({ nEmbd: 544, nHead }).headDim).toBe(544 / nHead);
  });

  it('refuses 544 over 12 heads with the ways out, and runs it with headDim', () => {
    const error = failure(() => resolve({ nEmbd: 544, nHead: 12 }));
    expect(error.code).toBe('ERR_CONFIG');
    expect(error.message).toBe(
      'nEmbd 544 is not a multiple of nHead 12: use nEmbd 540 or 552, or nHead 8 or 16, or keep both and set headDim 48',
    );
    expect(error.details).toEqual({
      path: 'nEmbd',
      remedies: { nEmbd: [540, 552], nHead: [8, 16], headDim: 48 },
    });
    expect(resolveGPT2Config({ nEmbd: 544, nHead: 12, headDim: 48 }).headDim).toBe(48);
  });

  it('has remedies for more heads than features', () => {
    const { remedies } = failure(() => resolve({ nEmbd: 8, nHead: 12 })).details;
    expect(remedies).toEqual({ nEmbd: [12], nHead: [8], headDim: 8 });
  });

  it('takes nCtx as nPositions, but not two values', () => {
    expect(resolveGPT2Config({ nCtx: 256 }).nPositions).toBe(256);
    expect(resolveGPT2Config({ nCtx: 256, nPositions: 256 }).nPositions).toBe(256);
    expect(failure(() => resolve({ nCtx: 256, nPositions: 128 })).details['path']).toBe('nCtx');
  });

  it('makes encoders bidirectional unless told', () => {
    expect(resolveGPT2Config({ isEncoder: true }).isCausal).toBe(false);
    expect(resolveGPT2Config({ isEncoder: true, isCausal: true }).isCausal).toBe(true);
    expect(failure(() => resolve({ isCausal: false })).message).toMatch(/^isCausal false .* see its answer/);
  });

  it('takes null as the default of nInner', () => {
    expect(resolveGPT2Config({ nEmbd: 64, nHead: 4, nInner: null }).nInner).toBe(256);
  });

  it.each<[string, object, string]>([
    ['zero', { nLayer: 0 }, 'nLayer must be an integer from 1 to 1000, not 0'],
    ['a fraction', { nEmbd: 1.5 }, 'nEmbd must be an integer from 1 to 65536, not 1.5'],
    ['NaN', { nHead: NaN }, 'nHead must be an integer from 1 to 1024, not NaN'],
    ['text', { nLayer: '4' }, "nLayer must be an integer from 1 to 1000, not '4'"],
    ['a probability of one', { residPdrop: 1 }, 'residPdrop must be a number from 0 and below 1, not 1'],
    [
      'a negative probability',
      { attnPdrop: -0.1 },
      'attnPdrop must be a number from 0 and below 1, not -0.1',
    ],
    [
      'a probability that no random number of the device is below',
      { residPdrop: 1 - 2 ** -25 },
      'residPdrop must be a number from 0 and below 1 in steps of 2^-24',
    ],
    ['a probability that is 0 in fp32', { embdPdrop: 1e-46 }, 'and 0 or at least 1.18e-38'],
    ['an epsilon that is 0 in fp32', { layerNormEpsilon: 1e-46 }, 'and at least 1.18e-38'],
    ['weights that are 0 in fp32', { initializerRange: 1e-46 }, 'and 0 or at least 1.18e-38'],
    [
      'a token beyond the vocabulary',
      { vocabSize: 10, eosTokenId: 10 },
      'eosTokenId 10 is not in the vocabulary',
    ],
    [
      'one of several tokens beyond the vocabulary',
      { vocabSize: 10, eosTokenId: [1, 10] },
      'eosTokenId 10 is not in the vocabulary',
    ],
    ['no token in an array', { eosTokenId: [] }, 'eosTokenId'],
    ['an ignored token', { ignoreIndex: 0 }, 'ignoreIndex 0 is a token of the vocabulary'],
    ['a misspelt choice', { activationFunction: 'gelu_now' }, "did you mean 'gelu_new'?"],
    ['a misspelt name', { nEmbed: 64 }, 'nEmbed is unknown: did you mean nEmbd?'],
    ['swapped letters', { nHaed: 4 }, 'nHaed is unknown: did you mean nHead?'],
    ["Hugging Face's spelling", { n_embd: 64 }, 'n_embd is unknown: did you mean nEmbd?'],
    ["another library's name", { blockSize: 64 }, 'blockSize is unknown: did you mean nPositions?'],
    ['a name like no other', { quux: 1 }, 'quux is unknown: known are vocabSize, nPositions'],
  ])('refuses %s', (_what, options, message) => {
    const error = failure(() => resolve(options));
    expect(error.code).toBe('ERR_CONFIG');
    expect(error.message).toContain(message);
    expect(error.details['path']).toBe(Object.keys(options).at(-1));
  });

  it('names every wrong field with its path', () => {
    const error = failure(() => resolveGPT2Config({ nLayer: 0, nHead: 0 }, 'model'));
    expect(error.message).toMatch(/^model\.nLayer must .*; model\.nHead must /);
    expect(error.details['path']).toBe('model.nLayer');
  });
});

describe('Hugging Face config.json', () => {
  const gpt2 = {
    activation_function: 'gelu_new',
    architectures: ['GPT2LMHeadModel'],
    attn_pdrop: 0.1,
    bos_token_id: 50256,
    eos_token_id: 50256,
    initializer_range: 0.02,
    layer_norm_epsilon: 1e-5,
    model_type: 'gpt2',
    n_ctx: 1024,
    n_embd: 768,
    n_head: 12,
    n_layer: 12,
    n_positions: 1024,
    summary_type: 'cls_index',
    task_specific_params: { 'text-generation': { max_length: 50 } },
    vocab_size: 50257,
  };

  it("reads GPT-2's and keeps what the model doesn't need", () => {
    const { config, rest } = fromHuggingFace(gpt2);
    expect(config).toEqual(resolveGPT2Config());
    expect(rest).toEqual({
      architectures: gpt2.architectures,
      model_type: 'gpt2',
      n_ctx: 1024,
      summary_type: 'cls_index',
      task_specific_params: gpt2.task_specific_params,
    });
  });

  it.each<[string, object, object]>([
    ['n_ctx, which transformers does not read', { n_positions: 32, n_ctx: 8 }, { nPositions: 32 }],
    ['n_ctx alone', { n_ctx: 8 }, { nPositions: 1024 }],
    ['another order of the same products', { reorder_and_upcast_attn: true }, {}],
    ['a key that nothing reads', { scale_attn_by_layer_idx: true }, { scaleAttnByInverseLayerIdx: false }],
    ['scaling by layer', { scale_attn_by_inverse_layer_idx: true }, { scaleAttnByInverseLayerIdx: true }],
    ['unscaled attention', { scale_attn_weights: false }, { scaleAttnWeights: false }],
    ['other classes of GPT-2', { architectures: ['GPT2ForSequenceClassification'] }, {}],
    ['no cross attention', { add_cross_attention: false, is_encoder_decoder: false }, {}],
    ['several tokens that end a text', { eos_token_id: [1, 2, 1] }, { eosTokenId: [1, 2] }],
    ['one in an array', { eos_token_id: [7], bos_token_id: [3, 4] }, { eosTokenId: 7, bosTokenId: 3 }],
    ['some of them outside the vocabulary', { eos_token_id: [-1, 50257, 7] }, { eosTokenId: 7 }],
    [
      'none of them inside',
      { eos_token_id: [50257], bos_token_id: -1 },
      { eosTokenId: null, bosTokenId: null },
    ],
    [
      'ids that are none',
      { eos_token_id: '</s>', bos_token_id: 1.5 },
      { eosTokenId: null, bosTokenId: null },
    ],
    ['null', { eos_token_id: null, bos_token_id: null }, { eosTokenId: null, bosTokenId: null }],
  ])('takes %s', (_what, json, expected) => {
    expect(fromHuggingFace(json).config).toMatchObject(expected);
  });

  it.each([
    ['gelu_new', 'gelu_new'],
    ['gelu_pytorch_tanh', 'gelu_new'],
    ['gelu_fast', 'gelu_new'],
    ['gelu', 'gelu'],
    ['gelu_python', 'gelu'],
    ['swish', 'silu'],
    ['tanh', 'tanh'],
  ])('reads the activation %s as %s', (theirs, ours) => {
    expect(fromHuggingFace({ activation_function: theirs }).config.activationFunction).toBe(ours);
  });

  it.each([
    resolveGPT2Config({ nEmbd: 64, nHead: 4 }),
    resolveGPT2Config({
      ...{ nEmbd: 64, nHead: 4, scaleAttnWeights: false, scaleAttnByInverseLayerIdx: true },
      eosTokenId: [1, 2],
    }),
    resolveGPT2Config({ vocabSize: 256, nEmbd: 544, nHead: 12, headDim: 48, activationFunction: 'relu' }),
    resolveGPT2Config({
      isEncoder: true,
      nTypes: 3,
      nStypes: 2,
      positions: 'sinusoidal',
      normalization: 'post',
    }),
  ])('survives a round trip (%#)', (config) => {
    expect(fromHuggingFace(JSON.parse(JSON.stringify(toHuggingFace(config)))).config).toEqual(config);
  });

  it("calls a model GPT-2 only when Hugging Face's computes the same", () => {
    expect(toHuggingFace(resolveGPT2Config())).toMatchObject({
      model_type: 'gpt2',
      architectures: ['GPT2LMHeadModel'],
      n_inner: 3072,
    });
    const post = toHuggingFace(resolveGPT2Config({ normalization: 'post' }));
    expect(post['model_type']).toBe('tesserae_gpt2');
    expect(post).not.toHaveProperty('architectures');
  });

  it("understands Hugging Face's other names", () => {
    const { config } = fromHuggingFace({
      hidden_size: 64,
      num_attention_heads: 4,
      num_hidden_layers: 2,
      max_position_embeddings: 32,
      activation_function: 'swish',
      vocab_size: 1000,
      bos_token_id: 50256,
    });
    expect(config).toMatchObject({
      nEmbd: 64,
      nHead: 4,
      nLayer: 2,
      nPositions: 32,
      activationFunction: 'silu',
    });
    expect(config.bosTokenId).toBeNull();
  });

  it.each<[string, unknown, string]>([
    ['another model', { model_type: 'llama' }, "model_type must be 'gpt2', not 'llama'"],
    ['a model type of another type', { model_type: ['gpt2'] }, "model_type must be 'gpt2', not an array"],
    ['cross attention', { add_cross_attention: true }, 'add_cross_attention is true'],
    ['weights that were quantised', { quantization_config: { bits: 4 } }, 'quantization_config is set'],
    ['heads that were pruned', { pruned_heads: { 0: [1] } }, 'pruned_heads is not supported'],
    ['two widths', { hidden_size: 512, n_embd: 1024 }, 'hidden_size 512 and n_embd 1024'],
    ['a size that is text', { n_embd: '16' }, 'nEmbd must be an integer'],
    ['a size beyond all limits', { vocab_size: 1e300 }, 'vocabSize must be an integer'],
    [
      'tied weights that are no flag',
      { tie_word_embeddings: 'yes' },
      'tieWordEmbeddings must be true or false',
    ],
    ['an unknown activation', { activation_function: 'quick_gelu' }, 'activation_function must be one of'],
    ['an activation that is none', { activation_function: 5 }, 'activation_function must be one of'],
    ['an unknown setting of ours', { tesserae: { model: { nTypez: 1 } } }, 'did you mean nTypes?'],
    [
      'a prototype of ours',
      { tesserae: { model: JSON.parse('{"__proto__":{"nEmbd":5}}') as unknown } },
      '__proto__',
    ],
    ['an array', [], 'must hold an object'],
  ])('refuses %s', (_what, json, message) => {
    const error = failure(() => fromHuggingFace(json));
    expect(error.code).toBe('ERR_CONFIG');
    expect(error.message).toContain(message);
  });

  it('takes what older files say of pruned heads when there are none', () => {
    expect(fromHuggingFace({ pruned_heads: {}, activation_function: 'gelu_python' }).config).toMatchObject({
      activationFunction: 'gelu',
    });
  });

  it('does not let __proto__ through', () => {
    const json: unknown = JSON.parse('{"__proto__": {"n_embd": 5}, "n_layer": 2}');
    expect(fromHuggingFace(json).config.nEmbd).toBe(768);
  });
});
