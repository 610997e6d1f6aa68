// Seeded bugs of the GPU: like mutants.mjs, but in CUDA code and in code that only GPUs run. The gates are tests of test/gpu.

const curve = (precision, microBatches = 1) => ({
  gate: 'test/gpu/models/model.test.ts',
  only: `50 steps in ${precision} with ${microBatches} micro-batches follow PyTorch`,
});
const overflow = {
  gate: 'test/gpu/models/model.test.ts',
  only: 'fp16: a gradient that overflows skips the step, halves the scale and leaves no other trace',
};
const ownProducts = {
  gate: 'test/gpu/ops/own_products.test.ts',
  only: 'own, bf16',
};
const sampling = (name) => ({ gate: 'test/gpu/sampling/sampling.test.ts', only: name });
/** A name begins with its precision. */
const operation = (name) => ({ gate: `test/gpu/ops/operations_${name.slice(0, 4)}.test.ts`, only: name });

export const gpuMutants = [
  {
    name: 'a number in the list of another cuBLASLt is used',
    file: 'native/compiler/tuned_products.cc',
    search: 'library != 0 && entry.library != library',
    replace: 'false',
    gate: 'test/gpu/training/tune.test.ts',
    only: 'a number of another cuBLASLt is not used, nor one that its list does not have',
  },
  {
    name: 'the optimizer leaves the 16-bit copy stale',
    file: 'native/ops/optimizer/cuda.cu',
    search: 'if constexpr (kHalf) {',
    replace: 'if constexpr (false) {',
    ...curve('bf16'),
  },
  {
    name: 'no weight decay',
    file: 'native/ops/optimizer/rules.h',
    search: 'static_cast<float>(1 - scaled * weightDecay)',
    replace: '1.0f',
    ...curve('fp32'),
  },
  {
    name: 'β2 is off by 0.001',
    file: 'native/ops/optimizer/rules.h',
    search: 'beta2 = a.number("beta2");',
    replace: 'beta2 = a.number("beta2") + 0.001;',
    ...curve('fp32'),
  },
  {
    name: 'a skipped step advances Adam',
    file: 'native/ops/advance_counters/cuda.cu',
    search: 'counters->applied += norm->applies != 0 ? 1 : 0;',
    replace: 'counters->applied += 1;',
    ...overflow,
  },
  {
    name: 'the scale of the loss stays in the gradient',
    file: 'native/ops/gradient_norm/rule.h',
    search: '1 / (lossGradient * total.valid)',
    replace: '1 / (__builtin_isfinite(lossGradient) ? total.valid : lossGradient)',
    ...overflow,
  },
  {
    name: 'an overflow does not skip the step',
    file: 'native/ops/gradient_norm/rule.h',
    search: '__builtin_isfinite(result.norm) && __builtin_isfinite(loss.sum) && loss.valid > 0',
    replace: 'loss.valid > 0',
    ...overflow,
  },
  {
    name: 'the 16-bit causal mask lets a query see the next key',
    file: 'native/ops/attention/sm80_forward.cuh',
    search: '(a.causal && column > known + row + e / 2 * 8)',
    replace: '(a.causal && column > known + row + 1 + e / 2 * 8)',
    ...operation('bf16 attention rows=2 time=67 heads=1 headDim=8 causal=true'),
  },
  {
    name: 'in 16 bits a query sees the document before its own where a tile has both',
    file: 'native/ops/attention/sm80_forward.cuh',
    search: '(mixed && starts[column] != starts[min(row + e / 2 * 8, length - 1)])',
    replace: '(mixed && false)',
    ...operation('bf16 attention rows=2 time=67 heads=1 headDim=64 causal=true documents='),
  },
  {
    name: 'the queries that see a tile of keys end with the document of its first key',
    file: 'native/ops/attention/problem.cuh',
    search: 'documentEnd(starts, min(first + rows, length) - 1, length)',
    replace: 'documentEnd(starts, first, length)',
    ...operation('bf16 attention rows=2 time=67 heads=1 headDim=64 causal=true documents='),
  },
  {
    name: 'the values of two heads are swapped',
    file: 'native/ops/attention/plain.cuh',
    search: 'loadPlain<kHead>(keyTile, rows.v, ',
    replace: 'loadPlain<kHead>(keyTile, rows.v + ((h ^ 1) - h) * a.head, ',
    ...operation('fp32 attention rows=1 time=200 heads=2 headDim=68 causal=true'),
  },
  {
    name: 'attention divides by √D of the padded head',
    file: 'native/ops/attention/cuda.cu',
    search: 'std::sqrt(static_cast<double>(head.logical))',
    replace: 'std::sqrt(static_cast<double>(head.physical))',
    ...operation('bf16 attention rows=2 time=67 heads=2 headDim=20 causal=false'),
  },
  {
    name: 'dropout of attention uses the mask of the next query',
    file: 'native/ops/attention/plain.cuh',
    search: 's.keptOfFour(key / 4, query)',
    replace: 's.keptOfFour(key / 4, query + 1)',
    ...operation('fp32 attention rows=2 time=33 heads=2 headDim=32 causal=true dropout=0.2'),
  },
  {
    name: 'in 16 bits causal queries apart from keys are aligned with the first key',
    file: 'native/ops/attention/problem.cuh',
    search: 'return {a.isPacked ? length : a.time, length, a.keyTime - a.time};',
    replace: 'return {a.isPacked ? length : a.time, length, 0};',
    ...operation('bf16 attention rows=2 time=35 keys=67 heads=2 kvHeads=1 headDim=64 causal=true'),
  },
  {
    name: 'the gradient of keys leaves out the last head of its group',
    file: 'native/ops/attention/sm80_backward.cuh',
    search: 'start + groupOf(a) * max(blocks - start, 0)',
    replace: 'start + max(groupOf(a) - 1, 1) * max(blocks - start, 0)',
    ...operation('bf16 attention rows=2 time=67 keys=67 heads=6 kvHeads=2 headDim=64 causal=true'),
  },
  {
    name: 'a range of keys has one key more',
    file: 'native/ops/attention/plain.cuh',
    search: 'seen.end = min(seen.end, a.keyEnd[at]);',
    replace: 'seen.end = min(seen.end, a.keyEnd[at] + 1);',
    ...operation(
      'bf16 attention rows=2 time=67 keys=90 heads=2 kvHeads=1 headDim=20 causal=false ranges=true',
    ),
  },
  {
    name: 'padded logits count in the softmax',
    file: 'native/ops/cross_entropy/rows.cuh',
    search: 'v[j] = column + j < s.vocabulary ? v[j] : -INFINITY;',
    replace: 'v[j] = column + j < s.columns ? v[j] : -INFINITY;',
    ...operation('bf16 cross_entropy rows=3 time=7 vocabSize=250 ignored=true'),
  },
  {
    name: 'the variance of layer norm counts padding lanes',
    file: 'native/ops/layer_norm/cuda.cu',
    search: 'column + i < logical ? v[k][i] - m : 0.0f',
    replace: 'v[k][i] - m',
    ...operation('fp16 layer_norm rows=3 time=43 nEmbd=31 bias=true residual=true'),
  },
  {
    name: 'the cubic term of GELU is off by a thousandth',
    file: 'native/ops/activation/functions.cuh',
    search: 'fmaf(k * 0.044715f, square, k)',
    replace: 'fmaf(k * 0.04476f, square, k)',
    ...operation('fp32 activation rows=3 time=43 nEmbd=37 name=gelu_new'),
  },
  {
    name: 'the gradient of a token that fills several segments loses parts',
    file: 'native/ops/embedding/cuda.cu',
    search: 'storeVector(entered ? entering : ',
    replace: 'storeVector(entered ? leaving : ',
    ...operation('fp16 embedding rows=1 time=1025 vocabSize=2 nEmbd=264'),
  },
  {
    name: 'products in fp32 run in TF32',
    file: 'native/ops/gemm/cublaslt.cu',
    search: 'cublaslt::CUBLAS_COMPUTE_32F_PEDANTIC',
    replace: 'cublaslt::CUBLAS_COMPUTE_32F_FAST_TF32',
    ...operation('fp32 linear rows=1 time=113 nIn=545 nOut=203 bias=true'),
  },
  {
    name: 'the second micro-batch stores its gradient in place of adding it',
    file: 'native/ops/linear/cuda.cu',
    search: '.accumulate = c.accumulate[0]',
    replace: '.accumulate = false',
    ...curve('fp32', 4),
  },
  {
    name: 'a query sees the key after its own where a prompt comes in pieces',
    file: 'native/ops/attention/sm80_forward.cuh',
    search: 'column > known + row + e / 2 * 8',
    replace: 'column > known + (known > 0) + row + e / 2 * 8',
    ...sampling('prompts of several pages, heads of 40 in bf16'),
  },
  {
    name: 'the sum of exponentials counts the target twice',
    file: 'native/ops/linear_cross_entropy/exponentials.cu',
    search: 'float total = 1.0f + others, loss = log1pf(others);',
    replace: 'float total = 2.0f + others, loss = log1pf(1.0f + others);',
    ...ownProducts,
  },
  {
    name: 'column sums of a product leave out half of its rows',
    file: 'native/ops/gemm/pieces/column_sums.cuh',
    search: '(sums[0][at] + sums[0][at + 2]) + (sums[1][at] + sums[1][at + 2])',
    replace: 'sums[0][at] + sums[0][at + 2]',
    ...ownProducts,
  },
  {
    name: 'column sums of the gradient of a norm are of the gradient behind it',
    file: 'native/ops/layer_norm/cuda.cu',
    search: 'columnSums[j] += out[j];',
    replace: 'columnSums[j] += toFloat(g.v[j]);',
    gate: 'test/gpu/models/whole_model.test.ts',
    only: 'products before norms sum the gradient of a shared bias in the norms',
  },
];
