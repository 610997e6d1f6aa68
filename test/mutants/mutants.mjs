// Seeded bugs: mistakes that are easy to make and hard to see, each with the gate that has to notice it.
// `search` stands exactly once in the file; `gate` is a test file, `only` the name of one of its tests where one is enough.

const curve = { gate: 'test/unit/models/curve.test.ts', only: '50 steps follow PyTorch: 1 micro-batches' };
const gpt2 = 'lib/models/gpt2.ts';

export const mutants = [
  {
    name: 'erf where the model asks for the tanh approximation of GELU',
    file: gpt2,
    search: '{ function: c.activationFunction }',
    replace: "{ function: 'gelu' }",
    ...curve,
  },
  {
    name: 'the epsilon of layer norm is 1e-6, not 1e-5',
    file: gpt2,
    search: '{ epsilon: c.layerNormEpsilon }',
    replace: '{ epsilon: c.layerNormEpsilon / 10 }',
    ...curve,
  },
  {
    name: 'attention is not causal',
    file: gpt2,
    search: '{ causal: c.isCausal, dropout: c.attnPdrop }',
    replace: '{ causal: false, dropout: c.attnPdrop }',
    ...curve,
  },
  {
    name: 'weight decay on biases and norms',
    file: 'lib/graph/builder.ts',
    search: 'decay: options.decay ?? false',
    replace: 'decay: options.decay ?? true',
    ...curve,
  },
  {
    name: 'no weight decay',
    file: 'native/ops/adamw/cpu.cc',
    search: 'static_cast<float>(1 - rate * weightDecay * chunkTable[2 * chunk])',
    replace: 'static_cast<float>(1 - 0 * weightDecay)',
    ...curve,
  },
  {
    name: 'β2 is off by 0.001',
    file: 'native/ops/adamw/cpu.cc',
    search: 'beta2 = c.attributes->number("beta2")',
    replace: 'beta2 = c.attributes->number("beta2") + 0.001',
    ...curve,
  },
  {
    name: 'the causal mask lets a query see the next key',
    file: 'native/ops/attention/cpu.cc',
    search: 'return p.causal && query + 1 < keys ? query + 1 : keys;',
    replace: 'return p.causal && query + 2 < keys ? query + 2 : keys;',
    ...curve,
  },
  {
    name: 'attention does not divide by √D',
    file: 'native/ops/attention/cpu.cc',
    search: '1.0 / __builtin_sqrt(static_cast<double>(qkv.factors[4].logical))',
    replace: '1.0',
    ...curve,
  },
  {
    name: 'attention divides by √D of the padded head',
    file: 'native/ops/attention/cpu.cc',
    search: 'static_cast<double>(qkv.factors[4].logical)',
    replace: 'static_cast<double>(qkv.factors[4].physical)',
    ...curve,
  },
  {
    name: 'the values of two heads are swapped',
    file: 'native/ops/attention/cpu.cc',
    search: 'scores, stride, q + 2 * p.width, p.rowStride, 0.0f,',
    replace: 'scores, stride, q + 2 * p.width + (h ^ 1) * p.head - h * p.head, p.rowStride, 0.0f,',
    ...curve,
  },
  {
    name: 'padded logits count in the softmax',
    file: 'native/ops/linear_cross_entropy/cpu.cc',
    search: 'smoothedLoss(*c.attributes, weight.factors[0].logical, columns)',
    replace: 'smoothedLoss(*c.attributes, columns, columns)',
    ...curve,
  },
  {
    name: 'gradients are clipped to twice the norm',
    file: 'native/ops/gradient_norm/cpu.cc',
    search: 'number("maxGradNorm", 0)',
    replace: 'number("maxGradNorm", 0) * 2',
    ...curve,
  },
  {
    name: 'dropout does not scale what it keeps',
    file: 'native/ops/dropout/cpu.cc',
    search: 'static_cast<float>(1 / (1 - p))',
    replace: '1.0f',
    gate: 'test/unit/ops/dropout.test.ts',
  },
  {
    name: 'every row of a batch has the same dropout mask',
    file: 'native/ops/dropout/cpu.cc',
    search: 'counters[kFirstSample] + row / rowsOfSample',
    replace: 'counters[kFirstSample]',
    gate: 'test/unit/ops/dropout.test.ts',
  },
  {
    name: 'a padded token id may be sampled',
    file: 'native/ops/choose/cpu.cc',
    search: 'vocabulary = scores.logicalColumns',
    replace: 'vocabulary = scores.columns',
    gate: 'test/unit/ops/sampling_options.test.ts',
    only: 'no token of the padding is chosen at temperature 1',
  },
  {
    name: 'keys of the second page of a cache are those of the first',
    file: 'native/ops/cached_attention/cpu.cc',
    search: 'const int64_t page = position / kPagePositions;',
    replace: 'const int64_t page = 0;',
    gate: 'test/unit/ops/sampling.test.ts',
    only: 'keys and values are found on every page of the cache',
  },
];
